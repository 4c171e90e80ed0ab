"""`interpbench train`."""

import contextlib
import json
import math
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import rich.progress
import rich.table
import tyro

from interpbench_jax.cli.dashboards import Dashboard, dashboard, find_package
from interpbench_jax.cli.output import OUT, console, need_some
from interpbench_jax.cli.settings import Overrides, population
from interpbench_jax.siit.members import Member
from interpbench_jax.siit.presets import PRESETS

if TYPE_CHECKING:
    from interpbench_jax.siit import SiitConfig
    from interpbench_jax.zoo import BenchmarkModel
    from interpbench_jax.zoo.progress import OnProgress, Progress

    Preset = str
else:
    Preset = Literal[tuple(PRESETS)]

# A model without it was interrupted while it was written.
_LAST_WRITTEN = "history.png"

Names = Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="CASE...")]
_NOTHING = Overrides()


def train(
    names: Names,
    *,
    preset: Preset = "siit",
    settings: Path | None = None,
    seeds: tuple[int, ...] = (0,),
    together: bool = False,
    resume: bool = False,
    log: tuple[Dashboard, ...] = (),
    out: Path = OUT / "models",
    overrides: Annotated[Overrides, tyro.conf.arg(name="")] = _NOTHING,
) -> None:
    """Train models on cases by SIIT and write each to its directory.

    Settings are the defaults, changed by the preset, then by the file, then by options.

    Args:
      names: cases to train on.
      preset: named settings; `siit` are the defaults.
      settings: TOML file with any of the fields below.
      seeds: one model each, trained together for every combination of rates; the best is kept.
      together: train cases whose models have one shape in one program; worth it on a GPU. Such a
        run has no checkpoints.
      resume: go on where an interrupted run of the same settings stopped; skip what is done.
      log: dashboards to send numbers to.
      out: directory under which `CASE/` is written.
      overrides: settings of training.
    """
    from interpbench_jax.cases import get_case
    from interpbench_jax.siit import cores_as_devices
    from interpbench_jax.zoo.store import check_place

    need_some(names, "case")
    crowds = {
        get_case(name).name: population(name, preset, settings, overrides, seeds) for name in names
    }
    for name in crowds:
        check_place(out / name)
    for kind in log:
        find_package(kind)  # all is checked before any work
    if resume:
        crowds = {name: crowd for name, crowd in crowds.items() if not _is_done(name, crowd, out)}
    if together:
        _train_together(crowds, out, log)
        return
    cores_as_devices(math.gcd(*map(len, crowds.values())))
    for name, crowd in crowds.items():
        train_one(name, crowd, out, resume=resume, log=log)


def _is_done(name: str, crowd: tuple[Member, ...], out: Path) -> bool:
    from interpbench_jax.zoo.make import describe_run

    if _made_of(out / name) != json.loads(json.dumps(describe_run(name, crowd))):
        return False
    if not (out / name / _LAST_WRITTEN).exists():
        return False
    console.print(f"case {name}: done before, in {out / name}", highlight=False)
    return True


def _train_together(
    crowds: dict[str, tuple[Member, ...]], out: Path, log: tuple[Dashboard, ...]
) -> None:
    """Cases of one shape and one population at a time."""
    from interpbench_jax.compiler import compile_case
    from interpbench_jax.siit import align, same_shape
    from interpbench_jax.zoo import make_models_together

    for crowd in dict.fromkeys(crowds.values()):
        names = [name for name, own in crowds.items() if own == crowd]
        config = crowd[0].config
        padded = config.min_length is not None
        shapes = [
            align(compile_case(name), padded=padded, same_size=config.same_size).config
            for name in names
        ]
        for places in same_shape(shapes):
            group = [names[place] for place in places]
            runs = {name: _Run(name, crowd, out, log) for name in group}
            with _bar(config, f"cases {' '.join(group)}: compiling") as update:

                def on_progress(now: "Progress", runs=runs, update=update) -> None:
                    runs[now.case].hear(now)
                    update(now)

                models = make_models_together(group, crowd, on_progress=on_progress)
            for model in models:
                runs[model.case].finish(model)


def train_one(
    name: str,
    crowd: tuple[Member, ...],
    out: Path,
    *,
    resume: bool = False,
    log: tuple[Dashboard, ...] = (),
) -> None:
    """Trains on one case, with a progress bar, and writes the best model to `out/name`."""
    from interpbench_jax.zoo import make_model

    run = _Run(name, crowd, out, log, resume=resume)
    with _bar(crowd[0].config, f"case {name}: compiling") as update:

        def on_progress(now: "Progress") -> None:
            run.hear(now)
            update(now)

        model = make_model(
            name,
            crowd,
            checkpoints=run.directory / "checkpoints",
            resume=resume,
            on_progress=on_progress,
        )
    run.finish(model)


class _Run:
    """Where a run writes while it lasts, and what is left of it in the end."""

    def __init__(
        self,
        name: str,
        crowd: tuple[Member, ...],
        out: Path,
        log: tuple[Dashboard, ...],
        *,
        resume: bool = False,
    ) -> None:
        from interpbench_jax.zoo.metrics_file import MetricsFile

        self.name, self.crowd, self.log = name, crowd, log
        self.done, self.directory = out / name, out / f"{name}.training"
        self.started = time.perf_counter()
        if not resume:
            shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.metrics = self.directory / "metrics.jsonl"
        self.listeners: list[OnProgress] = [
            MetricsFile(self.metrics),
            *(dashboard(kind, name, self.directory / kind) for kind in log),
        ]

    def hear(self, now: "Progress") -> None:
        """Writes a round down."""
        for listener in self.listeners:
            listener(now)

    def finish(self, model: "BenchmarkModel") -> None:
        """Writes the model and its history, and says how it went."""
        from interpbench_jax.benchmark.draw_history import draw_history
        from interpbench_jax.zoo import replacing, save_model
        from interpbench_jax.zoo.metrics_file import read_metrics

        save_model(model, self.done)
        rows = read_metrics(self.metrics)
        with replacing(self.done / "history.jsonl") as partial:
            shutil.copyfile(self.metrics, partial)
        with replacing(self.done / _LAST_WRITTEN) as partial:
            draw_history(rows, partial, title=f"case {self.name}: {model.card['title']}")
        for kind in self.log:
            if (self.directory / kind).exists():
                shutil.copytree(self.directory / kind, self.done / kind)
        shutil.rmtree(self.directory)

        card = model.card
        shares = ", ".join(f"{key} {value:.4f}" for key, value in card["metrics"].items())
        reached = "reached" if card["reached_threshold"] else "did NOT reach"
        threshold = self.crowd[0].config.threshold
        diverged = sum(member["diverged"] for member in card["members"])
        console.print(
            f"case {self.name}: {reached} the threshold {threshold} after {card['batches']}"
            f" batches ({card['batches_per_second'] or 'too few to tell'} batches/s),"
            f" {time.perf_counter() - self.started:.1f} s in all\n  {shares}\n"
            f"  written to {self.done}",
            highlight=False,
        )
        if diverged:
            console.print(f"  {diverged} of {len(self.crowd)} members diverged", highlight=False)


@contextlib.contextmanager
def _bar(config: "SiitConfig", description: str) -> Iterator["OnProgress"]:
    """A bar, and the function that moves it."""
    with rich.progress.Progress(*_COLUMNS, console=console, expand=True) as bar:
        total = config.n_rounds * config.round_batches
        task = bar.add_task(description, total=total, rate="")
        yield lambda now: bar.update(
            task, description=_describe(now), completed=now.batches, rate=_rate(now)
        )


_COLUMNS = (
    rich.progress.TextColumn("{task.description}"),
    rich.progress.TextColumn("{task.completed}/{task.total}{task.fields[rate]}"),
    rich.progress.TimeRemainingColumn(table_column=rich.table.Column(min_width=7)),
    # The bar takes what is left of the line.
    rich.progress.BarColumn(bar_width=None, table_column=rich.table.Column(ratio=1)),
)


def _describe(now: "Progress") -> str:
    """The member that has come furthest."""
    at = now.leading
    return (
        f"case {now.case}: loss {now.loss[at]:.3f} acc {now.accuracy[at]:.3f}"
        f" IIA {now.iia[at]:.3f} SIIA {now.siia[at]:.3f}"
    )


def _rate(now: "Progress") -> str:
    return f", {now.batches_per_second:.0f}/s" if now.batches_per_second else ""


def _made_of(directory: Path) -> dict[str, object] | None:
    """The settings of the run that made the model in a directory; none if there is no model."""
    try:
        return json.loads((directory / "card.json").read_text())["run"]
    except (OSError, ValueError, KeyError):
        return None
