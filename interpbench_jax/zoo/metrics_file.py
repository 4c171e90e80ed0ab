"""The rounds of a run, one JSON line each."""

import warnings
from pathlib import Path
from typing import Any

from interpbench_jax.files import from_json, read_bytes, replacing, to_json
from interpbench_jax.zoo.progress import Progress

_LARGEST = 2**30  # bytes


class MetricsFile:
    """Appends a line per round; an `OnProgress`.

    A resumed run may repeat rounds whose checkpoint was not written; their lines are removed first.
    If other lines are damaged, the old file is kept as `NAME.damaged`, with a warning; a last line
    that was cut off when the run was killed is no damage.
    """

    def __init__(self, file: Path) -> None:
        """Writes nothing before the first round."""
        self.file = file
        self._opened = False

    def __call__(self, progress: Progress) -> None:
        """Writes a round.

        Raises:
          ValueError: the file of an earlier process cannot be read; it is unchanged.
        """
        if not self._opened:
            rows, damaged = _read(self.file)
            kept = [row for row in rows if row["round"] < progress.round]
            if damaged:
                aside = self.file.rename(self.file.with_name(f"{self.file.name}.damaged"))
                numbers = ", ".join(map(str, damaged))
                warnings.warn(
                    f"{self.file} goes on without its damaged lines ({numbers}); the old file is "
                    f"kept as {aside.name}",
                    stacklevel=2,
                )
            with replacing(self.file) as partial:
                partial.write_text("".join(to_json(row) + "\n" for row in kept), "utf-8")
            self._opened = True
        with self.file.open("a", encoding="utf-8") as stream:
            stream.write(to_json(progress._asdict()) + "\n")


def read_metrics(file: Path) -> list[dict[str, Any]]:
    """The rounds in a file, without damaged lines; empty if there is no file.

    Raises:
      ValueError: the file cannot be read.
    """
    return _read(file)[0]


def _read(file: Path) -> tuple[list[dict[str, Any]], list[int]]:
    """The rounds, and the numbers of damaged lines other than the last."""
    try:
        lines = read_bytes(file, limit=_LARGEST).splitlines()
    except FileNotFoundError:
        return [], []
    rows: list[dict[str, Any]] = []
    damaged: list[int] = []
    for number, line in enumerate(lines, 1):
        try:
            row = from_json(line, source=file)
        except ValueError:
            row = None
        if isinstance(row, dict) and isinstance(row.get("round"), int):
            rows.append(row)
        elif number < len(lines):
            damaged.append(number)
    return rows, damaged
