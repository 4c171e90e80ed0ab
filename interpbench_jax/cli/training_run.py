"""Where a run of `interpbench train` writes, and what is left of it in the end."""

import json
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

from interpbench_jax.cli.dashboards import Dashboard, dashboard
from interpbench_jax.cli.output import console
from interpbench_jax.siit.members import Member

if TYPE_CHECKING:
    from interpbench_jax.zoo import BenchmarkModel
    from interpbench_jax.zoo.progress import OnProgress, Progress

STATE = "checkpoints"
"""Within the directory of a run."""

# A model without it was interrupted while it was written.
_LAST_WRITTEN = "history.png"


def directory_of(name: str, out: Path) -> Path:
    """Where a run writes until it is done."""
    return out / f"{name}.training"


class TrainingRun:
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
        """Makes the directory, emptied first unless the run goes on."""
        from interpbench_jax.zoo.metrics_file import MetricsFile

        self.name, self.crowd, self.log = name, crowd, log
        self.done, self.directory = out / name, directory_of(name, out)
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


def is_done(name: str, crowd: tuple[Member, ...], out: Path) -> bool:
    """Whether the model is there; says so, and if there is another that will be replaced."""
    from interpbench_jax.zoo.make import describe_run

    made_of, place = _made_of(out / name), out / name
    if made_of is not None and made_of != json.loads(json.dumps(describe_run(name, crowd))):
        console.print(
            f"case {name}: the model in {place} has other settings, and will be replaced",
            highlight=False,
        )
        return False
    if made_of is None or not (place / _LAST_WRITTEN).exists():
        return False
    console.print(f"case {name}: done before, in {place}", highlight=False)
    return True


def _made_of(directory: Path) -> dict[str, object] | None:
    """The settings of the run that made the model in a directory; none if there is no model."""
    try:
        return json.loads((directory / "card.json").read_text())["run"]
    except (OSError, ValueError, KeyError):
        return None
