"""`interpbench train`."""

import json
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import rich.progress
import tyro

from interpbench_jax.cli.dashboards import Dashboard, dashboard
from interpbench_jax.cli.output import OUT, console, need_some
from interpbench_jax.cli.settings import Overrides, population
from interpbench_jax.siit.members import Member
from interpbench_jax.siit.presets import PRESETS

if TYPE_CHECKING:
    from interpbench_jax.zoo.progress import OnProgress, Progress

    Preset = str
else:
    Preset = Literal[tuple(PRESETS)]

Names = Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="CASE...")]
_NOTHING = Overrides()


def train(
    names: Names,
    *,
    preset: Preset = "siit",
    settings: Path | None = None,
    seeds: tuple[int, ...] = (0,),
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
      resume: go on where an interrupted run of the same settings stopped; skip what is done.
      log: dashboards to send numbers to.
      out: directory under which `CASE/` is written.
      overrides: settings of training.
    """
    from interpbench_jax.cases import get_case

    need_some(names, "case")
    crowds = {
        get_case(name).name: population(name, preset, settings, overrides, seeds) for name in names
    }  # everything is checked before any work
    for name, crowd in crowds.items():
        train_one(name, crowd, out, resume=resume, log=log)


def train_one(
    name: str,
    crowd: tuple[Member, ...],
    out: Path,
    *,
    resume: bool = False,
    log: tuple[Dashboard, ...] = (),
) -> None:
    """Trains on one case, with a progress bar, and writes the best model to `out/name`."""
    from interpbench_jax.benchmark.draw_history import draw_history
    from interpbench_jax.zoo import make_model, replacing, save_model
    from interpbench_jax.zoo.make import describe_run
    from interpbench_jax.zoo.metrics_file import MetricsFile, read_metrics

    done, running = out / name, out / f"{name}.training"
    if resume and _made_of(done) == json.loads(json.dumps(describe_run(name, crowd))):
        console.print(f"case {name}: done before, in {done}", highlight=False)
        return
    started = time.perf_counter()
    if not resume:
        shutil.rmtree(running, ignore_errors=True)
    running.mkdir(parents=True, exist_ok=True)
    metrics = running / "metrics.jsonl"
    listeners: list[OnProgress] = [
        MetricsFile(metrics),
        *(dashboard(kind, name, running / kind) for kind in log),
    ]
    config = crowd[0].config
    with rich.progress.Progress(*_COLUMNS, console=console) as bar:
        total = config.n_rounds * config.round_batches
        task = bar.add_task(f"case {name}: compiling", total=total, rate="")

        def on_progress(now: "Progress") -> None:
            for listener in listeners:
                listener(now)
            bar.update(task, description=_describe(now), completed=now.batches, rate=_rate(now))

        model = make_model(
            name, crowd, checkpoints=running / "checkpoints", resume=resume, on_progress=on_progress
        )
    save_model(model, done)
    rows = read_metrics(metrics)
    with replacing(done / "history.jsonl") as partial:
        shutil.copyfile(metrics, partial)
    with replacing(done / "history.png") as partial:
        draw_history(rows, partial, title=f"case {name}: {model.card['title']}")
    for kind in log:
        if (running / kind).exists():
            shutil.copytree(running / kind, done / kind)
    shutil.rmtree(running)

    card = model.card
    shares = ", ".join(f"{key} {value:.4f}" for key, value in card["metrics"].items())
    reached = "reached" if card["reached_threshold"] else "did NOT reach"
    diverged = sum(member["diverged"] for member in card["members"])
    console.print(
        f"case {name}: {reached} the threshold {config.threshold} after {card['batches']} batches"
        f" ({card['batches_per_second'] or 'too few to tell'} batches/s),"
        f" {time.perf_counter() - started:.1f} s in all\n  {shares}\n  written to {done}",
        highlight=False,
    )
    if diverged:
        console.print(f"  {diverged} of {len(crowd)} members diverged", highlight=False)


_COLUMNS = (
    rich.progress.TextColumn("{task.description}"),
    rich.progress.TextColumn("{task.completed}/{task.total}{task.fields[rate]}"),
    rich.progress.TimeElapsedColumn(),
    rich.progress.TimeRemainingColumn(),
    rich.progress.BarColumn(bar_width=10),
)


def _describe(now: "Progress") -> str:
    """The member that has come furthest."""
    worst = [min(scores) for scores in zip(now.accuracy, now.iia, now.siia, strict=True)]
    best = max(range(len(worst)), key=lambda i: (worst[i] == worst[i], worst[i]))
    return (
        f"case {now.case}: loss {sum(now.losses[best]):.3f} acc {now.accuracy[best]:.3f}"
        f" IIA {now.iia[best]:.3f} SIIA {now.siia[best]:.3f}"
    )


def _rate(now: "Progress") -> str:
    return f", {now.batches_per_second:.0f}/s" if now.batches_per_second else ""


def _made_of(directory: Path) -> dict[str, object] | None:
    """The settings of the run that made the model in a directory; none if there is no model."""
    try:
        return json.loads((directory / "card.json").read_text())["run"]
    except (OSError, ValueError, KeyError):
        return None
