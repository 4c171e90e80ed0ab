"""The rounds of a run, one JSON line each."""

import json
from pathlib import Path
from typing import Any

from interpbench_jax.files import replacing
from interpbench_jax.zoo.progress import Progress


class MetricsFile:
    """Appends a line per round; an `OnProgress`.

    A run that goes on after an interruption may repeat rounds whose checkpoint was not written:
    what the file says of these is dropped first.
    """

    def __init__(self, file: Path) -> None:
        """Nothing is written before the first round."""
        self.file = file
        self._opened = False

    def __call__(self, progress: Progress) -> None:
        """Writes a round."""
        if not self._opened:
            kept = [row for row in read_metrics(self.file) if row["round"] < progress.round]
            with replacing(self.file) as partial:
                partial.write_text("".join(json.dumps(row) + "\n" for row in kept))
            self._opened = True
        with self.file.open("a") as stream:
            stream.write(json.dumps(progress.as_json()) + "\n")


def read_metrics(file: Path) -> list[dict[str, Any]]:
    """The rounds in a file, none if there is no file; a last line cut short is left out."""
    if not file.exists():
        return []
    rows = []
    for line in file.read_text().splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows
