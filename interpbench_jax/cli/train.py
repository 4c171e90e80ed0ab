"""`interpbench train`."""

import time
from pathlib import Path
from typing import Annotated

import tyro
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from interpbench_jax.cli.output import OUT, console, need_some
from interpbench_jax.siit.config import SiitConfig

Names = Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="CASE...")]


def train(
    names: Names,
    *,
    seeds: tuple[int, ...] = (0,),
    out: Path = OUT / "models",
    config: Annotated[SiitConfig, tyro.conf.arg(name="")] = SiitConfig(),  # noqa: B008
) -> None:
    """Train models on cases by SIIT and write each to its directory.

    Args:
      names: cases to train on.
      seeds: one model each, trained together; the best is kept.
      out: directory under which `CASE/` is written.
      config: settings of training.
    """
    from interpbench_jax.cases import get_case

    need_some(names, "case")
    for case in [get_case(name) for name in names]:  # all names are checked before any work
        train_one(case.name, config, seeds, out)


def train_one(name: str, config: SiitConfig, seeds: tuple[int, ...], out: Path) -> None:
    """Trains on one case, with a progress bar, and writes the model to `out/name`."""
    from interpbench_jax.siit import TrainState
    from interpbench_jax.zoo import make_model, save_model

    started = time.perf_counter()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} batches"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        total = config.n_rounds * config.round_batches
        task = progress.add_task(f"case {name}: compiling", total=total)

        def on_round(state: TrainState) -> None:
            rounds = int(state.round.max())
            row = state.history.scores
            best = int(state.best_score.argmax())
            last = int(state.round[best]) - 1
            text = (
                f"case {name}: accuracy {float(row.accuracy[best, last]):.4f}"
                f" IIA {float(row.iia[best, last].min()):.4f}"
                f" SIIA {float(row.siia[best, last].min(initial=1)):.4f}"
            )
            progress.update(task, description=text, completed=rounds * config.round_batches)

        model = make_model(name, config, seeds=seeds, on_round=on_round)
    save_model(model, out / name)
    card = model.card
    shares = ", ".join(f"{key} {value:.4f}" for key, value in card["metrics"].items())
    reached = "reached" if card["reached_threshold"] else "did NOT reach"
    console.print(
        f"case {name}: {reached} the threshold {config.threshold} after {card['batches']} batches"
        f" ({card['batches_per_second'] or 'too few to tell'} batches/s),"
        f" {time.perf_counter() - started:.1f} s in all\n  {shares}\n  written to {out / name}",
        highlight=False,
    )
