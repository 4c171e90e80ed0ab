"""All results of a store in one file; also the results that come with the package."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interpbench_jax.benchmark.results_store import (
    Store,
    are_described,
    checked_facts,
    newest_runs,
    schema,
)
from interpbench_jax.files import from_json, replacing, to_json

if TYPE_CHECKING:
    import polars as pl

LEADERBOARD = Path(__file__).parent / "leaderboard.parquet"
"""All methods on all bundled models that meet the bar, with 200 inputs and resample ablation."""


def pack_results(store: Store, file: Path, renewed: "PackedResults | None" = None) -> None:
    """Writes all results of a store, with the facts about their models, into one file.

    Args:
      store: the results.
      file: the file; an older one is replaced.
      renewed: results to which those of the store are added. Only the newest of a run is kept, and
        a model in the store replaces another one of the same name.

    Raises:
      ValueError: there are no results, or the facts about a model with scores are missing.
      OSError: the file cannot be written.
    """
    import polars as pl

    rows = store.read()
    if rows.is_empty():
        raise ValueError(f"no results in {store.directory}")
    done = rows.filter(pl.col("status") == "done")
    facts = {model_id: store.read_model(model_id) for model_id in done["model_id"].unique()}
    if renewed is not None:
        rows = newest_runs(rows)
        ids = dict(rows.select("model", "model_id").iter_rows())
        id_in_store = pl.col("model").replace_strict(ids, default=pl.col("model_id"))
        older = renewed.read().filter(pl.col("model_id") == id_in_store)
        rows = newest_runs(pl.concat([older, rows]))
        kept = rows.filter(pl.col("status") == "done")["model_id"].unique()
        facts |= {one: renewed.read_model(one) for one in kept if one not in facts}
    rows = rows.with_columns(
        facts=pl.col("model_id").replace_strict(
            {model_id: to_json(one) for model_id, one in facts.items()},
            default=None,
            return_dtype=pl.String(),
        )
    )
    try:
        with replacing(file) as partial:
            rows.write_parquet(partial, compression="zstd", compression_level=19)
    except pl.exceptions.PolarsError as error:
        raise OSError(f"{file} cannot be written: {error}") from error


class PackedResults:
    """Results in a file of `pack_results`. They are read like those of a `Store`."""

    def __init__(self, file: Path) -> None:
        """Reads the file.

        Raises:
          ValueError: it does not hold results of runs.
        """
        import polars as pl

        self.file = file
        columns = schema() | {"facts": pl.String()}
        try:
            rows = pl.scan_parquet(
                file, schema=columns, missing_columns="insert", extra_columns="ignore", glob=False
            ).collect()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise ValueError(f"{file} cannot be read: {' '.join(str(error).split())}") from error
        if rows.is_empty() or not are_described(rows) or rows["id"].is_duplicated().any():
            raise ValueError(f"{file} does not hold results of runs")
        self._rows = rows
        self._facts = dict(rows.select("model_id", "facts").iter_rows())

    @property
    def place(self) -> Path:
        """Where the results are."""
        return self.file

    @property
    def rows_at(self) -> str:
        """Where a reader of a report finds the rows."""
        return self.file.name

    def read(self, columns: Iterable[str] | None = None) -> "pl.DataFrame":
        """All results, one row each, sorted by id.

        Args:
          columns: the columns; all by default.
        """
        return self._rows.sort("id").select(list(schema() if columns is None else columns))

    def unreadable(self) -> dict[Path, str]:
        """No faults: a file without valid results is not opened at all."""
        return {}

    def read_model(self, model_id: str) -> dict[str, Any]:
        """The facts about a model, as `Store.read_model` returns them.

        Raises:
          ValueError: the file lacks them, or has something else in their place.
        """
        source = f"{self.file}, model {model_id}"
        text = self._facts.get(model_id)
        if text is None:
            raise ValueError(f"{source}: there are no facts about it")
        return checked_facts(from_json(text, source=source), source)
