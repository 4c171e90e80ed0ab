"""The rounds of a run, one JSON line each."""

from pathlib import Path
from typing import Any

from interpbench_jax.files import from_json, read_text, replacing, to_json
from interpbench_jax.zoo.progress import Progress

_LARGEST = 2**30  # bytes


class MetricsFile:
    """Appends a line per round; an `OnProgress`.

    A resumed run may repeat rounds whose checkpoint was not written; their lines are removed first.
    """

    def __init__(self, file: Path) -> None:
        """Writes nothing before the first round."""
        self.file = file
        self._opened = False

    def __call__(self, progress: Progress) -> None:
        """Writes a round."""
        if not self._opened:
            kept = [row for row in read_metrics(self.file) if row["round"] < progress.round]
            with replacing(self.file) as partial:
                partial.write_text("".join(to_json(row) + "\n" for row in kept), "utf-8")
            self._opened = True
        with self.file.open("a", encoding="utf-8") as stream:
            stream.write(to_json(progress._asdict()) + "\n")


def read_metrics(file: Path) -> list[dict[str, Any]]:
    """The rounds in a file, up to the first damaged line; empty if there is no file."""
    rows: list[dict[str, Any]] = []
    try:
        for line in read_text(file, limit=_LARGEST).splitlines():
            row = from_json(line, source=file)
            if not isinstance(row, dict) or not isinstance(row.get("round"), int):
                break
            rows.append(row)
    except (FileNotFoundError, ValueError):
        pass
    return rows
