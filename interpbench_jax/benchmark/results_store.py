"""Results on disk: a directory of small files with plain data only.

`runs/ID.parquet` is one run: a row with its description, settings and results. `models/ID.json` has
the facts about a model. Files are written completely or not at all, so any number of processes may
write, any of them may be killed, and directories can be merged by copying.
"""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interpbench_jax.files import read_json, replacing, write_json

if TYPE_CHECKING:
    import polars as pl

_TEXT = (
    "id", "status", "error", "traceback", "model", "model_id", "case", "kind", "method",
    "method_version", "environment", "ablation", "selection", "knobs", "versions", "device",
    "command", "started",
)  # fmt: skip
_INTEGER = ("seed", "n_inputs", "n_edges", "n_true_edges")
SCORES = (
    "edge_auroc", "edge_auroc_qkv", "node_auroc", "edge_ap", "edge_ap_qkv", "node_ap",
    "staircase", "staircase_qkv", "share_auroc", "share_auroc_qkv", "cpr", "cmd", "cpr_signed",
    "cmd_signed", "found_edges", "found_precision", "found_recall", "found_f1", "found_accuracy",
    "faithfulness", "incompleteness", "incompleteness_worst", "minimality", "superfluous",
)  # fmt: skip
"""Columns with one number per run; `scoring/README.md` defines them."""
_REQUIRED = ("id", "status", "model", "model_id", "method", "ablation", "seed", "n_inputs")
_STEM = r"([^/\\]*)\.parquet$"
# Fields that `read_model` guarantees.
_SIZES = ("n_layers", "n_heads", "d_model", "n_ctx")
_FACTS = {
    "title": str, "kind": str, "config": dict, "metrics": dict, "program": list,
    "variables": dict, "circuit": dict,
}  # fmt: skip
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

    @property
    def place(self) -> Path:
        """Where the results are."""
        return self.directory

    @property
    def rows_at(self) -> str:
        """Where a reader of a report finds the row of a run."""
        return f"{self.directory.name}/runs/ID.parquet"

    def status(self) -> dict[str, str]:
        """`done` or `failed`, by the id of every run that has a result.

        A file without a valid result is ignored; its run is pending.
        """
        rows = self.read(("id", "status"))
        return dict(rows.iter_rows())

    def write(self, row: Mapping[str, Any]) -> None:
        """Writes the result of one run atomically; replaces an older one.

        Args:
          row: values by the names in `schema`; missing values are null.

        Raises:
          ValueError: a column is not in `schema`.
          OSError: the file cannot be written.
        """
        import polars as pl

        columns = schema()
        if unknown := row.keys() - columns.keys():
            raise ValueError(f"results have no columns {sorted(unknown)}")
        frame = pl.DataFrame([{name: row.get(name) for name in columns}], schema=columns)
        file = self._place("runs") / f"{row['id']}.parquet"
        try:
            with replacing(file) as partial:
                frame.write_parquet(partial, statistics=False)
        except pl.exceptions.PolarsError as error:  # raised for a full disk, among others
            raise OSError(f"{file} cannot be written: {error}") from error

    def read(self, columns: Iterable[str] | None = None) -> "pl.DataFrame":
        """All results, one row each, sorted by id.

        Files without a valid result are left out; `unreadable` lists them.

        Args:
          columns: the columns to read; all by default.
        """
        import polars as pl

        every, wanted = schema(), list(schema() if columns is None else columns)
        needed = list(dict.fromkeys([*_REQUIRED, *wanted]))
        files = self._files()
        if not files:
            return pl.DataFrame(schema={name: every[name] for name in wanted})
        try:
            rows = _scan(files).select(needed, "file").collect()
            if len(rows) != len(files) or not _are_results(rows):
                raise ValueError("some files are not results")
        except (pl.exceptions.PolarsError, OSError, ValueError):  # a bad file breaks the scan
            rows = _scan([file for file in files if _fault(file) is None]).select(needed).collect()
        return rows.select(wanted)

    def unreadable(self) -> dict[Path, str]:
        """The error of each result file without a valid result."""
        files = self._files()
        if len(self.read(("id",))) == len(files):
            return {}
        faults = {file: _fault(file) for file in files}
        return {file: fault for file, fault in faults.items() if fault is not None}

    def write_model(self, model_id: str, facts: Mapping[str, Any]) -> None:
        """Writes the facts about a model; replaces an older file.

        Raises:
          OSError: the file cannot be written.
        """
        write_json(self._place("models") / f"{model_id}.json", facts)

    def read_model(self, model_id: str) -> dict[str, Any]:
        """The facts about a model, from `execution.model_facts`.

        Raises:
          ValueError: the file is missing or holds something else; the message names it.
        """
        file = self.directory / "models" / f"{model_id}.json"
        try:
            facts = read_json(file)
        except FileNotFoundError as error:
            raise ValueError(f"{file} is missing") from error
        return checked_facts(facts, str(file))

    def _files(self) -> list[Path]:
        return sorted((self.directory / "runs").glob("[!.]*.parquet"))

    def _place(self, folder: str) -> Path:
        place = self.directory / folder
        place.mkdir(parents=True, exist_ok=True)
        return place


def missing_if_nan(value: Any) -> Any:
    """None instead of NaN: undefined values are missing in a store."""
    return None if isinstance(value, float) and math.isnan(value) else value


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


def checked_facts(facts: Any, source: str) -> dict[str, Any]:
    """The facts about a model, after a check of all that a report uses.

    Args:
      facts: what was read.
      source: where it was read, for the error.

    Raises:
      ValueError: they are not facts about a model.
    """
    if not isinstance(facts, dict):
        raise ValueError(f"{source} does not describe a model")
    for name, kind in _FACTS.items():
        if not isinstance(facts.get(name), kind):
            raise ValueError(f"{source} does not describe a model: no {kind.__name__} {name!r}")
    for name in _SIZES:
        if not isinstance(facts["config"].get(name), int):
            raise ValueError(f"{source} does not describe a model: no int {name!r} in 'config'")
    if not all(isinstance(line, str) for line in facts["program"]):
        raise ValueError(f"{source} does not describe a model: 'program' is not lines of text")
    return facts


def are_described(rows: "pl.DataFrame") -> bool:
    """Whether each row says which run it is of."""
    import polars as pl

    return bool(rows.select(pl.all_horizontal(pl.col(_REQUIRED).is_not_null()).all()).item())


def newest_runs(rows: "pl.DataFrame") -> "pl.DataFrame":
    """The last result of each run, for the last model of each name, in order of time.

    If one model was run under several names, such as paths, it gets the last of them. A run is a
    model, method, ablation, selection, number of inputs and seed. If it failed after it was done,
    for example in another environment, the result that was done is kept.

    Args:
      rows: rows of one store or several.
    """
    import polars as pl

    rows = rows.sort("started", nulls_last=False)
    rows = rows.with_columns(pl.col("selection").fill_null("not recorded"))
    rows = rows.with_columns(pl.col("model").last().over("model_id"))
    rows = rows.filter(pl.col("model_id") == pl.col("model_id").last().over("model"))
    run = ["model", "method", "ablation", "selection", "n_inputs", "seed"]
    done = (pl.col("status") == "done").fill_null(False)
    rows = rows.filter(done | ~done.any().over(run))
    return rows.unique(run, keep="last", maintain_order=True)


def _scan(files: list[Path]) -> "pl.LazyFrame":
    """Results in files, with the file of each; files of older versions may lack columns."""
    import polars as pl

    if not files:
        return pl.LazyFrame(schema={**schema(), "file": pl.String()})
    return pl.scan_parquet(
        files,
        schema=schema(),
        missing_columns="insert",
        extra_columns="ignore",
        include_file_paths="file",
        glob=False,
    )


def _are_results(rows: "pl.DataFrame") -> bool:
    """Whether each row describes its run and is in the file named after it."""
    import polars as pl

    named = pl.col("file").str.extract(_STEM, 1) == pl.col("id")
    return are_described(rows) and bool(rows.select(named.fill_null(False).all()).item())


def _fault(file: Path) -> str | None:
    """Why a file is not a valid result; None if it is one."""
    import polars as pl

    try:
        rows = _scan([file]).collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        return f"{file} cannot be read: {' '.join(str(error).split())}"
    if len(rows) == 1 and _are_results(rows):
        return None
    return f"{file} does not hold the result of the run that it is named after"
