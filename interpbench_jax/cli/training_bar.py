"""The progress bar of `interpbench train`."""

import contextlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import rich.console
import rich.progress
import rich.table
import rich.text

from interpbench_jax.cli.output import console

if TYPE_CHECKING:
    from interpbench_jax.siit import SiitConfig
    from interpbench_jax.zoo.progress import OnProgress, Progress


@contextlib.contextmanager
def training_bar(
    config: "SiitConfig", description: str, *, begun: int = 0
) -> Iterator["OnProgress"]:
    """Shows a progress bar, and yields the function that advances it.

    Args:
      config: settings that determine the length of the run.
      description: text before the first round.
      begun: finished rounds of a resumed run, from which the bar starts.
    """
    with _Bar(*_COLUMNS, console=console, expand=True) as bar:
        before = config.batches_after(begun)
        task = bar.add_task(
            description, total=config.max_batches, completed=before, rate="", measured=""
        )
        yield lambda now: bar.update(
            task,
            description=f"case {now.case}",
            completed=now.batches,
            rate=_rate(now),
            measured=_measured(now, config),
        )


class _Bar(rich.progress.Progress):
    """A progress bar with measurements on a separate line, as there is no room next to the bar."""

    def get_renderables(self) -> Iterable[rich.console.RenderableType]:
        """The bar, and the line of measurements after the first round."""
        yield self.make_tasks_table(self.tasks)
        for task in self.tasks:
            if measured := task.fields["measured"]:
                yield rich.text.Text(measured, no_wrap=True, overflow="ellipsis")


_COLUMNS = (
    rich.progress.TextColumn("{task.description}"),
    rich.progress.TextColumn("{task.completed}/{task.total}{task.fields[rate]}"),
    rich.progress.TimeRemainingColumn(table_column=rich.table.Column(min_width=7)),
    # The bar takes the rest of the line.
    rich.progress.BarColumn(bar_width=None, table_column=rich.table.Column(ratio=1)),
)


def _measured(now: "Progress", config: "SiitConfig") -> str:
    """Losses and scores of the best member so far."""
    at = now.leading
    behaviour, iit, strict = now.losses[at]
    nodes = f"IIA {now.iia[at]:.3f} SIIA {now.siia[at]:.3f}"
    scores = f"sets of edges {now.edges[at]:.3f}" if config.patches == "edges" else nodes
    return (
        f"  behaviour {behaviour:.3f} IIT {iit:.3f} strict {strict:.3f}"
        f" acc {now.accuracy[at]:.3f} {scores}"
    )


def _rate(now: "Progress") -> str:
    return f", {now.batches_per_second:.0f}/s" if now.batches_per_second else ""
