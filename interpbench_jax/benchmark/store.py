"""Results on disk: a directory of small files, plain data only.

`runs/ID.parquet` is one run: a row with what was run, how, and what came out. `models/ID.json` is
what is known of a model. Files appear complete or not at all, so that any number of processes may
write, any of them may be killed, and directories are merged by copying.
"""

import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

_TEXT = (
    "id", "status", "error", "traceback", "model", "model_id", "case", "kind", "method",
    "method_version", "ablation", "selection", "knobs", "versions", "device", "command", "started",
)  # fmt: skip
_INTEGER = ("seed", "n_inputs", "n_edges", "n_true_edges")
SCORES = (
    "edge_auroc", "edge_auroc_qkv", "node_auroc", "edge_ap", "edge_ap_qkv", "node_ap",
    "staircase", "staircase_qkv", "share_auroc", "share_auroc_qkv", "cpr", "cmd", "cpr_signed",
    "cmd_signed", "found_edges", "found_precision", "found_recall", "faithfulness",
    "incompleteness", "incompleteness_worst", "minimality", "superfluous",
)  # fmt: skip
"""Columns with one number per run; `scoring/README.md` says what they mean."""
RATES = ("threshold", "true_positive_rate", "false_positive_rate", "precision")
_NUMBER = ("seen_inputs", "seconds", "compile_seconds", "scoring_seconds", *SCORES)
_NUMBERS = (
    "scores", "faithfulness_curve", "node_importance",
    *(f"{level}_{rate}" for level in ("head", "qkv") for rate in RATES),
)  # fmt: skip
_INTEGERS = ("scores_shape", "head_n_kept", "qkv_n_kept")


class Store:
    """A directory of results."""

    def __init__(self, directory: Path) -> None:
        """Opens a directory, which need not exist yet."""
        self.directory = directory

    def finished(self) -> frozenset[str]:
        """Ids of all runs that have a result, be it a failure."""
        return frozenset(file.stem for file in (self.directory / "runs").glob("[!.]*.parquet"))

    def failed(self) -> frozenset[str]:
        """Ids of the runs that failed.

        Raises:
          ValueError: a file cannot be read.
        """
        rows = self.read(columns=("id", "status")) if self.finished() else None
        return frozenset() if rows is None else frozenset(_column(rows, "id", status="failed"))

    def write(self, row: Mapping[str, Any]) -> None:
        """Writes the result of one run, at once and whole; an older one is replaced.

        Args:
          row: by the names in `schema`; what is missing is null.
        """
        import polars as pl

        columns = schema()
        if unknown := row.keys() - columns.keys():
            raise ValueError(f"results have no columns {sorted(unknown)}")
        frame = pl.DataFrame([{name: row.get(name) for name in columns}], schema=columns)
        with _appearing(self.directory / "runs" / f"{row['id']}.parquet") as partial:
            frame.write_parquet(partial, statistics=False)

    def read(self, columns: Iterable[str] | None = None) -> "pl.DataFrame":
        """All results, a row each, sorted by id.

        Args:
          columns: which to read; all if none are named.

        Raises:
          ValueError: there are none, or a file cannot be read.
        """
        import polars as pl

        files = sorted(self.directory / "runs" / f"{name}.parquet" for name in self.finished())
        if not files:
            raise ValueError(f"no results in {self.directory}")
        wanted = schema() if columns is None else {name: schema()[name] for name in columns}
        try:
            return pl.scan_parquet(
                files, schema=schema(), missing_columns="insert", extra_columns="ignore", glob=False
            ).select(list(wanted)).collect()  # fmt: skip
        except (pl.exceptions.PolarsError, OSError) as error:
            raise ValueError(f"{_first_bad(files)} cannot be read: {error}") from error

    def write_model(self, model_id: str, facts: Mapping[str, Any]) -> None:
        """Writes what is known of a model, unless it is there already."""
        file = self.directory / "models" / f"{model_id}.json"
        if not file.exists():
            with _appearing(file) as partial:
                partial.write_text(json.dumps(facts, indent=1))

    def read_model(self, model_id: str) -> dict[str, Any]:
        """What is known of a model.

        Raises:
          ValueError: nothing is, or the file cannot be read.
        """
        file = self.directory / "models" / f"{model_id}.json"
        try:
            return json.loads(file.read_text())
        except (OSError, ValueError) as error:
            raise ValueError(f"{file} cannot be read: {error}") from error


def schema() -> "dict[str, Any]":
    """Names and types of the columns of a run."""
    import polars as pl

    return {
        **dict.fromkeys(_TEXT, pl.String()),
        **dict.fromkeys(_INTEGER, pl.Int64()),
        **dict.fromkeys(_NUMBER, pl.Float64()),
        **dict.fromkeys(_NUMBERS, pl.List(pl.Float64())),
        **dict.fromkeys(_INTEGERS, pl.List(pl.Int64())),
    }


class _appearing:  # noqa: N801 (a context manager)
    """A temporary name beside a file, which becomes the file if the block succeeds.

    As `zoo.replacing`, which imports JAX; the temporary name begins with a dot and the process id.
    """

    def __init__(self, file: Path) -> None:
        self.file = file

    def __enter__(self) -> Path:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            prefix=f".{os.getpid()}.", suffix=self.file.suffix, dir=self.file.parent
        )
        os.close(handle)
        self.partial = Path(name)
        return self.partial

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.partial.chmod(0o644)
            self.partial.replace(self.file)
        self.partial.unlink(missing_ok=True)


def _column(rows: "pl.DataFrame", name: str, *, status: str) -> list[str]:
    return rows.filter(rows["status"] == status)[name].to_list()


def _first_bad(files: Iterable[Path]) -> Path | str:
    import polars as pl

    for file in files:
        try:
            pl.read_parquet(file)
        except (pl.exceptions.PolarsError, OSError):
            return file
    return "the store"
