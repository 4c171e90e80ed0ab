"""The progress bar of `interpbench train`."""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import rich.progress
import rich.table

from interpbench_jax.cli.output import console

if TYPE_CHECKING:
    from interpbench_jax.siit import SiitConfig
    from interpbench_jax.zoo.progress import OnProgress, Progress


@contextlib.contextmanager
def training_bar(config: "SiitConfig", description: str) -> Iterator["OnProgress"]:
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
