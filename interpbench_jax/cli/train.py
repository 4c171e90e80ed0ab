"""`interpbench train`."""

import contextlib
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from safetensors import SafetensorError

from interpbench_jax.cli.dashboards import Dashboard, find_package
from interpbench_jax.cli.output import OUT, console, need_some
from interpbench_jax.cli.settings import Overrides, population
from interpbench_jax.cli.training_bar import training_bar
from interpbench_jax.cli.training_run import (
    STATE,
    TrainingRun,
    check_run,
    directory_of,
    is_done,
    locked_runs,
    made_by,
    tasks_of,
)
from interpbench_jax.siit.members import Member
from interpbench_jax.siit.presets import PRESETS, USUAL_PRESET

if TYPE_CHECKING:
    from interpbench_jax.zoo.model import BenchmarkModel
    from interpbench_jax.zoo.progress import Progress

    Preset = str
else:
    Preset = Literal[tuple(PRESETS)]

Names = Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[CASE...]")]
_NOTHING = Overrides()
_TOGETHER = "together-"


def train(
    names: Names = (),
    *,
    recipe: str | None = None,
    preset: Preset = USUAL_PRESET,
    settings: Path | None = None,
    seeds: tuple[int, ...] = (0,),
    missing: bool = False,
    together: bool = False,
    resume: bool = False,
    log: tuple[Dashboard, ...] = (),
    out: Path = OUT / "models",
    overrides: Annotated[Overrides, tyro.conf.arg(name="")] = _NOTHING,
) -> None:
    """Train models on cases and write each to its directory.

    Settings are the defaults, overridden by the preset, then by the file, then by options. An
    existing model or interrupted run in the output directory is moved to `older/`. The defaults
    below are those without a preset; `edge-siit` sets patches edges, batch size 128, threshold
    0.999, 6,000 batches and 512 validation pairs.

    Args:
      names: cases to train on; with a recipe, the models to train, by default all.
      recipe: train the models of a recipe (`suite`, `comparison`, `published` or a TOML file), with
        its presets, settings and seeds.
      preset: named settings; `edge-siit` trains under patches of any set of edges.
      settings: TOML file with any of the fields below.
      seeds: seeds; a model for every combination with rates is trained, and the best is kept.
      missing: of a recipe, train only models that the package lacks or that miss the bar there.
      together: train cases whose models have the same shape in one program; faster on a GPU.
      resume: continue an interrupted run with the same settings and cases; skip finished cases.
      log: dashboards to log to.
      out: directory under which `CASE/` is written.
      overrides: settings of training.
    """
    from interpbench_jax.alignment import align
    from interpbench_jax.siit import cores_as_devices, device_mesh
    from interpbench_jax.tasks import pairs_per_part
    from interpbench_jax.zoo.store import check_place

    if repeated := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"case {repeated[0]} is given twice")
    if recipe is None:
        if missing:
            raise ValueError("--missing can only be combined with --recipe")
        need_some(names, "case")
        runs = {out: {name: population(name, preset, settings, overrides, seeds) for name in names}}
    else:
        _refuse_settings(preset, settings, seeds, overrides)
        runs = _runs_of_recipe(recipe, names, out, missing=missing)
    for place, populations in runs.items():
        for name, members in populations.items():
            config = members[0].config
            align(tasks_of([name], members)[0], config.d_model)
            pairs_per_part(config.n_pairs, config.held_out)
            check_run(name, place)
            check_place(place / name)
    for kind in log:
        find_package(kind)
    every = [members for populations in runs.values() for members in populations.values()]
    batches = [members[0].config.batch_size for members in every]
    cores_as_devices(math.gcd(*map(len, every)), math.gcd(*batches))
    for members, batch_size in zip(every, batches, strict=True):
        device_mesh(len(members), batch_size)  # checks everything before any work
    with contextlib.ExitStack() as locks:
        for place, populations in runs.items():
            locks.enter_context(locked_runs(populations, place))
        locks.enter_context(_told_how_to_go_on(out))
        if recipe is not None:
            _print_plan(runs, out, resume=resume)
        for place, populations in runs.items():
            if together:
                _train_together(populations, place, log, resume=resume)
                continue
            for name, members in populations.items():
                if not (resume and is_done(name, members, place)):
                    _train_one(name, members, place, log, resume=resume)


def _refuse_settings(
    preset: str, settings: Path | None, seeds: tuple[int, ...], overrides: Overrides
) -> None:
    """Checks that no other settings are given with a recipe.

    Raises:
      ValueError: there are other settings.
    """
    given = [name for name, value in asdict(overrides).items() if value is not None]
    given += ["preset"] * (preset != USUAL_PRESET) + ["settings"] * (settings is not None)
    given += ["seeds"] * (seeds != (0,))
    if given:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise ValueError(f"a recipe has its own settings; leave out {options}")


def _runs_of_recipe(
    recipe: str, names: Sequence[str], out: Path, *, missing: bool
) -> dict[Path, dict[str, tuple[Member, ...]]]:
    """The members to train on each task, by the output folder of the models.

    Raises:
      ValueError: the recipe cannot be read, has no model of that name, or has none that is missing.
    """
    from interpbench_jax.zoo import below_bar, every_bundled_name, load_model
    from interpbench_jax.zoo.recipe import recipes_of

    recipes = recipes_of(recipe, names)
    if missing:
        cards = {
            name: load_model(name, on_device=False).card
            for name in recipes.keys() & set(every_bundled_name())
        }
        recipes = {
            name: found
            for name, found in recipes.items()
            if name not in cards or below_bar(cards[name]["metrics"])
        }
        if not recipes:
            raise ValueError("no model to train: all of these are in the package and meet the bar")
    runs: dict[Path, dict[str, tuple[Member, ...]]] = {}
    for found in recipes.values():
        runs.setdefault(out / found.folder, {})[found.task] = found.members()
    return runs


def _print_plan(
    runs: dict[Path, dict[str, tuple[Member, ...]]], out: Path, *, resume: bool
) -> None:
    """Prints how many models of a recipe will be trained, and how long this took before."""
    from interpbench_jax.zoo import every_bundled_name, load_model

    names = [
        (place / name).relative_to(out).as_posix()
        for place, populations in runs.items()
        for name, members in populations.items()
        if not (resume and made_by(place / name, name, members))
    ]
    bundled = set(every_bundled_name())
    cards = [load_model(name, on_device=False).card for name in names if name in bundled]
    seconds: defaultdict[str, float] = defaultdict(float)
    for card in cards:
        seconds[card["device"]] += card["seconds"]
    times = ", ".join(f"{time / 60:.0f} minutes on {device}" for device, time in seconds.items())
    known = f"; {len(cards)} bundled, made in {times}, one after the other" if cards else ""
    console.print(f"{len(names)} model{'s' * (len(names) != 1)} to train{known}", highlight=False)


@contextlib.contextmanager
def _told_how_to_go_on(out: Path) -> Iterator[None]:
    """Adds how to continue to the message if the run is interrupted or cannot write."""
    go_on = "the same command with --resume continues from the last round"
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(go_on) from None
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OSError(f"cannot write to {out}: {reason}; {go_on}") from error


def _train_together(
    populations: dict[str, tuple[Member, ...]],
    out: Path,
    log: tuple[Dashboard, ...],
    *,
    resume: bool,
) -> None:
    """Trains groups of cases with the same shape and population, one group at a time.

    An interrupted group is resumed as a whole, even if some of its models are written, or others of
    the same shape were added; a case whose own run was interrupted is resumed alone.
    """
    from interpbench_jax.alignment import align
    from interpbench_jax.siit import same_shape

    for members in dict.fromkeys(populations.values()):
        names = [name for name, own in populations.items() if own == members]
        tasks = tasks_of(names, members)
        d_model = members[0].config.d_model
        shapes = [align(task, d_model).network for task in tasks]
        for places in same_shape(shapes, [task.categorical for task in tasks]):
            group = [names[place] for place in places]
            done = [name for name in group if resume and is_done(name, members, out)]
            for begun_together in _interrupted(group, out) if resume else ():
                skip = [name for name in begun_together if name in done]
                _train_group(begun_together, members, out, log, resume=True, skip=skip)
                done += begun_together
            group = [name for name in group if name not in done]
            begun = [n for n in group if resume and (directory_of(n, out) / STATE).exists()]
            for name in begun:
                _train_one(name, members, out, log, resume=True)
            if rest := [name for name in group if name not in begun]:
                _train_group(rest, members, out, log, resume=resume)


def _train_group(
    group: list[str],
    members: tuple[Member, ...],
    out: Path,
    log: tuple[Dashboard, ...],
    *,
    resume: bool,
    skip: Sequence[str] = (),
) -> None:
    """Trains cases of one shape together; the cases in `skip` are already written."""
    from interpbench_jax.zoo.checkpoints import can_resume, clear, discard, rounds_stored
    from interpbench_jax.zoo.make import describe_run, make_models_together
    from interpbench_jax.zoo.prepared import prepare

    together, state = _together(group), _state_of(group, out)
    check_run(together, out)
    resume = resume and can_resume(state, describe_run(tasks_of(group, members), members))
    runs = {
        name: TrainingRun(name, members, out, log, resume=resume)
        for name in group
        if name not in skip
    }
    begun = rounds_stored(state) if resume else 0
    compiling = f"cases {' '.join(group)}: compiling"
    with training_bar(members[0].config, compiling, begun=begun) as update:

        def on_progress(now: "Progress") -> None:
            if now.case in runs:
                runs[now.case].on_progress(now)
            update(now)

        # What can fail comes before the runs are entered, as that clears their directories.
        prepared = [prepare(name, members) for name in group]
        if not resume and (aside := clear(directory_of(together, out), state)):
            console.print(f"the interrupted run of these cases is kept in {aside}", highlight=False)
        with contextlib.ExitStack() as entered:
            for run in runs.values():
                entered.enter_context(run)

            def on_model(model: "BenchmarkModel") -> None:
                if model.case in runs:
                    runs[model.case].finish(model)

            make_models_together(
                prepared,
                members,
                checkpoints=state,
                resume=resume,
                on_progress=on_progress,
                on_model=on_model,
            )
    for name in skip:  # left by a kill after the last file was written, unless it is another run's
        if not (directory_of(name, out) / STATE).exists():
            discard(directory_of(name, out))
    discard(directory_of(together, out))


def _together(group: list[str]) -> str:
    """A name for the run of cases that are trained together."""
    return f"{_TOGETHER}{group[0]}-and-{len(group) - 1}-more"


def _interrupted(group: list[str], out: Path) -> list[list[str]]:
    """Groups of these cases whose common run was interrupted."""
    from interpbench_jax.zoo.checkpoints import stored_settings

    found = []
    for state in sorted(out.glob(f"{_TOGETHER}*.training/{STATE}")):
        names = str((stored_settings(state) or {}).get("case", "")).split()
        if names and set(names) <= set(group) and state == _state_of(names, out):
            found.append(names)
    return found


def _state_of(group: list[str], out: Path) -> Path:
    return directory_of(_together(group), out) / STATE


def _train_one(
    name: str,
    members: tuple[Member, ...],
    out: Path,
    log: tuple[Dashboard, ...],
    *,
    resume: bool,
) -> None:
    """Trains on one case with a progress bar, and writes the best model to `out/name`."""
    from interpbench_jax.zoo.checkpoints import can_resume, rounds_stored
    from interpbench_jax.zoo.make import describe_run, make_model
    from interpbench_jax.zoo.prepared import prepare

    state = directory_of(name, out) / STATE
    resume = resume and can_resume(state, describe_run(tasks_of([name], members), members))
    run = TrainingRun(name, members, out, log, resume=resume)
    begun = rounds_stored(state) if resume else 0
    with training_bar(members[0].config, f"case {name}: compiling", begun=begun) as update:

        def on_progress(now: "Progress") -> None:
            run.on_progress(now)
            update(now)

        # What can fail comes before the run is entered, as that clears its directory.
        prepared = prepare(name, members)
        with run:
            model = make_model(
                prepared, members, checkpoints=state, resume=resume, on_progress=on_progress
            )
    run.finish(model)
