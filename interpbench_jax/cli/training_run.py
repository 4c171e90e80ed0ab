"""The directory of a run of `interpbench train`, during and after training."""

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from interpbench_jax.cli.dashboards import Dashboard, dashboard
from interpbench_jax.cli.output import console
from interpbench_jax.files import (
    from_json,
    inside,
    locked,
    read_json,
    replacing,
    set_aside,
    to_json,
)
from interpbench_jax.siit.members import Member

if TYPE_CHECKING:
    from interpbench_jax.tasks import Task
    from interpbench_jax.zoo import BenchmarkModel
    from interpbench_jax.zoo.progress import OnProgress, Progress

STATE = "checkpoints"
"""Name of the checkpoints in the directory of a run."""

# A model without it was interrupted while it was written.
_LAST_WRITTEN = "history.png"


def directory_of(name: str, out: Path) -> Path:
    """The directory of an unfinished run."""
    return inside(out, f"{name}.training")


def check_run(name: str, out: Path) -> None:
    """Checks that a run can write to its directory, which may already exist.

    Raises:
      ValueError: it cannot, or the name leads out of `out`.
    """
    inside(out, name)
    directory = directory_of(name, out)
    if os.path.lexists(directory) and not directory.is_dir():
        raise ValueError(f"{directory} exists and is not a directory; will not replace it")
    for place in (out, directory):
        try:
            if place.exists():
                tempfile.TemporaryDirectory(prefix=".", dir=place).cleanup()
        except OSError as error:
            raise ValueError(f"cannot write to {place}: {error.strerror}") from error


@contextlib.contextmanager
def locked_runs(names: Iterable[str], out: Path) -> Iterator[None]:
    """Locks the directories of cases against other training processes.

    Raises:
      ValueError: another process holds a lock; the message names it.
    """
    with contextlib.ExitStack() as locks:
        for name in names:
            locks.enter_context(locked(out / f".{name}.lock", what=inside(out, name)))
        yield


class TrainingRun:
    """The directory of a run during training, and its results afterwards.

    A context manager: it changes nothing on disk before it is entered, and closes dashboards at the
    end.
    """

    def __init__(
        self,
        name: str,
        members: tuple[Member, ...],
        out: Path,
        log: tuple[Dashboard, ...],
        *,
        resume: bool = False,
    ) -> None:
        """Starts the clock."""
        self.name, self.members, self.log, self.resume = name, members, log, resume
        self.done, self.directory = inside(out, name), directory_of(name, out)
        self.metrics = self.directory / "metrics.jsonl"
        self.started = time.perf_counter()
        self.listeners: list[OnProgress] = []
        self.dashboards = contextlib.ExitStack()

    def __enter__(self) -> "TrainingRun":
        """Makes the directory and opens the dashboards.

        Unless the run is resumed, an older run with a finished round is moved aside.
        """
        from interpbench_jax.zoo.checkpoints import clear
        from interpbench_jax.zoo.metrics_file import MetricsFile

        if not self.resume and (aside := clear(self.directory, self.directory / STATE)):
            console.print(
                f"case {self.name}: starting a new run; the interrupted run, which --resume would"
                f" have continued, is kept in {aside}",
                highlight=False,
            )
        self.directory.mkdir(parents=True, exist_ok=True)
        self.listeners.append(MetricsFile(self.metrics))
        settings = _description(self.name, self.members)
        for kind in self.log:
            opened = dashboard(kind, self.name, settings, self.directory / kind)
            self.listeners.append(self.dashboards.enter_context(opened))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes the dashboards."""
        self.dashboards.__exit__(kind, error, trace)

    def on_progress(self, now: "Progress") -> None:
        """Records a round."""
        for listener in self.listeners:
            listener(now)

    def finish(self, model: "BenchmarkModel") -> None:
        """Closes the dashboards, writes the model and its history, and prints a summary.

        An existing model of another run is moved aside.
        """
        from interpbench_jax.benchmark.draw_history import draw_history
        from interpbench_jax.zoo import held_out_statement, save_model
        from interpbench_jax.zoo.checkpoints import discard
        from interpbench_jax.zoo.metrics_file import read_metrics

        self.dashboards.close()  # before their files are copied
        aside = None
        # Files that this run wrote before it was killed while writing are not kept.
        own = self.resume and _made_of(self.done) == _description(self.name, self.members)
        if self.done.exists() and not own:
            aside = set_aside(self.done)
        save_model(model, self.done)
        rows = read_metrics(self.metrics)
        with replacing(self.done / "history.jsonl") as partial:
            shutil.copyfile(self.metrics, partial)
        for kind in self.log:
            if (self.directory / kind).exists():
                shutil.copytree(self.directory / kind, self.done / kind, dirs_exist_ok=True)
        with replacing(self.done / _LAST_WRITTEN) as partial:
            draw_history(rows, partial, title=f"case {self.name}: {model.card['title']}")
        discard(self.directory)

        card = model.card
        shares = ", ".join(f"{key} {value:.4f}" for key, value in card["metrics"].items())
        reached = "reached" if card["reached_threshold"] else "did NOT reach"
        config = self.members[0].config
        diverged = sum(member["diverged"] for member in card["members"])
        console.print(
            f"case {self.name}: {reached} the threshold {config.threshold} after {card['batches']}"
            f" batches ({card['batches_per_second'] or 'too few to measure'} batches/s),"
            f" {time.perf_counter() - self.started:.1f} s in total\n  {shares}\n"
            f"  {held_out_statement(model)}\n"
            f"  {_bar_statement(card)}\n"
            f"  written to {self.done}",
            highlight=False,
        )
        if aside:
            console.print(f"  the older model is kept in {aside}", highlight=False)
        if diverged:
            console.print(f"  {diverged} of {len(self.members)} members diverged", highlight=False)


def _bar_statement(card: dict[str, Any]) -> str:
    """Whether a model meets the bar of the suite, and which metrics miss it."""
    from interpbench_jax.zoo import below_bar

    misses = [f"{name} {share:.4f}" for name, share in below_bar(card["metrics"]).items()]
    if not misses:
        return "meets the bar of the suite"
    weakest = [f"{edge} ({share:.4f})" for edge, share in card["weakest_edges"].items()]
    edges = f"; weakest edges {', '.join(weakest)}" if weakest else ""
    return f"below the bar of the suite: {', '.join(misses)}{edges}"


def made_by(directory: Path, name: str, members: tuple[Member, ...]) -> bool:
    """Whether the model in a directory is complete and from this run."""
    is_whole = (directory / _LAST_WRITTEN).exists()
    return is_whole and _made_of(directory) == _description(name, members)


def is_done(name: str, members: tuple[Member, ...], out: Path) -> bool:
    """Whether the model exists; prints this, and whether another model will be moved aside."""
    from interpbench_jax.zoo.checkpoints import discard, stored_settings

    place = inside(out, name)
    made_of, wanted = _made_of(place), _description(name, members)
    if made_of is not None and made_of != wanted:
        console.print(
            f"case {name}: the model in {place} is from another run, and will be moved aside",
            highlight=False,
        )
        return False
    if made_of is None or not (place / _LAST_WRITTEN).exists():
        return False
    left = directory_of(name, out)
    with contextlib.suppress(ValueError):  # unreadable settings: not this run
        if not left.exists() or stored_settings(left / STATE) == wanted:
            discard(left)
    console.print(f"case {name}: done before, in {place}", highlight=False)
    return True


def tasks_of(names: Sequence[str], members: tuple[Member, ...]) -> "list[Task]":
    """The tasks of these names, with lengths and sizes from the members' settings."""
    from interpbench_jax.compiler import get_task

    config = members[0].config
    return [
        get_task(name, min_length=config.min_length, same_size=config.same_size) for name in names
    ]


def _description(name: str, members: tuple[Member, ...]) -> dict[str, Any]:
    """The definition of a case's run, as read from a file."""
    from interpbench_jax.zoo.make import describe_run

    return from_json(to_json(describe_run(tasks_of([name], members), members)), source="settings")


def _made_of(directory: Path) -> dict[str, Any] | None:
    """The settings of the run that made the model in a directory; None if there is no model."""
    try:
        return read_json(directory / "card.json")["run"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
