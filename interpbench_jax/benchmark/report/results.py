"""Results in the form for tables and plots: cases x entrants, averaged over seeds."""

import functools
import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float

from interpbench_jax.benchmark.packed_results import PackedResults
from interpbench_jax.benchmark.results_store import Store, newest_runs
from interpbench_jax.files import to_json
from interpbench_jax.model import Circuit
from interpbench_jax.model.circuit import CIRCUIT_KINDS

# Columns that `_fits` checks.
_SHAPED = (
    *("id", "status", "model_id", "kind", "scores", "scores_shape", "edge_auroc"),
    *("head_false_positive_rate", "head_true_positive_rate"),
)


class Results:
    """The newest result of every model, method, ablation, selection, number of inputs and seed.

    An *entrant* is a method together with everything that makes its results incomparable, if a
    store has several values of it: ablation, selection, and the version of a user's own method. So
    are the code and packages that computed the results, if there are several for one model, such as
    other ones for other seeds: older results are never averaged with newer ones of the same model.
    A model that was trained again under the same name replaces the older model. Results of old
    versions that recorded no selection (circuits were the best edges, including dead ends) are a
    separate entrant.

    If an entrant has runs on several numbers of inputs, its results are those with the most inputs;
    `of_inputs` also has the others, which show how many inputs it needs.

    Results that are added from elsewhere are entrants of their own, such as `eap, leaderboard`.

    Attributes:
      rows: the results, with the `entrant` of each.
      done: results with scores.
      of_inputs: results with scores, including those with fewer inputs.
      failed: results with an error.
      n_superseded: number of older results that are left out.
      n_environments: number of versions of code and packages that computed the results; the added
        results are counted apart.
      unreadable: for each file that is left out, one line about its error.
      entrants: names of the entrants.
      models: names of the models with scores.
    """

    def __init__(self, store: Store | PackedResults, beside: PackedResults | None = None) -> None:
        """Reads results.

        Args:
          store: the results.
          beside: other results, of which those on the same models are added.

        Raises:
          ValueError: there are no results.
        """
        self.store, self.beside = store, beside
        self.unreadable = list(store.unreadable().values())
        every = store.read()
        if every.is_empty() and not self.unreadable:
            raise ValueError(f"no results in {store.place}")
        rows = newest_runs(every)
        self.n_superseded = len(every) - len(rows)
        rows = rows.with_columns(beside=False)
        if beside is not None:
            rows = pl.concat([rows, _on_same_models(beside.read(), rows).with_columns(beside=True)])
        environments = rows.group_by("beside").agg(pl.col("environment").n_unique())["environment"]
        self.n_environments: int = max(environments, default=0)
        rows = rows.with_columns(entrant=_entrant(rows)).sort("model", "entrant", "seed")
        fits = [self._fits(row) for row in rows.select(_SHAPED).iter_rows(named=True)]
        self.of_inputs = rows.filter(pl.Series(fits, dtype=pl.Boolean))
        most = pl.col("n_inputs") == pl.col("n_inputs").max().over("entrant")
        self.rows, self.done = rows.filter(most), self.of_inputs.filter(most)
        self.failed = self.rows.filter(pl.col("status") == "failed")
        self.entrants: tuple[str, ...] = tuple(
            self.rows["entrant"].unique(maintain_order=True).to_list()
        )
        self.models: tuple[str, ...] = tuple(sorted(self.done["model"].unique(), key=_natural))

    def _fits(self, row: dict[str, Any]) -> bool:
        """Whether the shapes of scores fit their model; otherwise records the error."""
        if row["status"] != "done":
            return False
        try:
            kind, graph = self.facts(row["model_id"])["kind"], self.circuit(row["model_id"]).graph
        except ValueError as error:
            fault = str(error)
        else:
            shape, n_scores = row["scores_shape"], len(row["scores"] or ())
            rates = [row[f"head_{name}_positive_rate"] or () for name in ("false", "true")]
            if (
                row["kind"] == kind in CIRCUIT_KINDS
                and shape in [list(graph.valid.shape), [graph.n_writers]]
                and math.prod(shape) == n_scores
                and (row["edge_auroc"] is None or 0 < len(rates[0]) == len(rates[1]))
            ):
                return True
            fault = f"{row['id']}.parquet does not fit its model, {row['model_id']}.json"
        if fault not in self.unreadable:
            self.unreadable.append(fault)
        return False

    @functools.cached_property
    def kind_of(self) -> dict[str, str]:
        """For each model, the kind of its circuit."""
        return dict(self.done.select("model", "kind").unique().iter_rows())

    @functools.cached_property
    def selection_of(self) -> dict[str, str]:
        """For each entrant, the selection."""
        rows = self.done.group_by("entrant").agg(pl.col("selection").unique().sort())
        return {entrant: ", ".join(names) for entrant, names in rows.iter_rows()}

    @functools.cached_property
    def inputs_of(self) -> dict[str, int]:
        """For each entrant, the number of inputs that its scores were computed on."""
        return dict(self.done.group_by("entrant").agg(pl.col("n_inputs").max()).iter_rows())

    def models_of(self, kind: str) -> tuple[str, ...]:
        """The models whose circuit is of this kind."""
        return tuple(model for model in self.models if self.kind_of[model] == kind)

    def table(self, score: str, models: Sequence[str]) -> Float[np.ndarray, "case entrant"]:
        """A score, averaged over seeds, per model and entrant; NaN if there is none."""
        means = self._means(score)
        shape = (len(models), len(self.entrants))
        values = [
            means.get((model, entrant), np.nan) for model in models for entrant in self.entrants
        ]
        return np.array(values, float).reshape(shape)

    @functools.lru_cache(maxsize=64)  # noqa: B019 (lives as long as a report is written)
    def _means(self, score: str) -> dict[tuple[str, str], float]:
        grouped = self.done.group_by("model", "entrant").agg(pl.col(score).mean())
        known = grouped.drop_nulls()  # shares are missing for a model without performance
        return {(model, entrant): value for model, entrant, value in known.iter_rows()}

    def of_model(self, model: str) -> list[dict[str, Any]]:
        """The finished rows of one model, in the order of entrants and seeds."""
        return list(self.done.filter(pl.col("model") == model).iter_rows(named=True))

    @functools.cache  # noqa: B019
    def facts(self, model_id: str) -> dict[str, Any]:
        """The stored facts about a model.

        Raises:
          ValueError: the store does not know the model.
        """
        return self.store.read_model(model_id)

    @functools.cache  # noqa: B019
    def circuit(self, model_id: str) -> Circuit:
        """The true circuit of a model.

        Raises:
          ValueError: the store does not know the model.
        """
        facts = self.facts(model_id)
        try:
            return Circuit.from_json(to_json(facts["circuit"]))
        except ValueError as error:
            raise ValueError(f"the circuit in {model_id}.json cannot be read: {error}") from error


def _on_same_models(rows: pl.DataFrame, others: pl.DataFrame) -> pl.DataFrame:
    """The rows on the models of others, with the names that these models have there."""
    names = dict(others.select("model_id", "model").iter_rows())
    rows = rows.filter(pl.col("model_id").is_in(list(names)))
    return newest_runs(rows.with_columns(pl.col("model_id").replace_strict(names).alias("model")))


def _entrant(rows: pl.DataFrame) -> pl.Expr:
    """The name of a row's entrant; see `Results`."""
    parts = [pl.col("method")]
    if rows["ablation"].n_unique() > 1:
        parts.append(pl.col("ablation"))
    several = pl.col("selection").n_unique().over("method") > 1
    parts.append(pl.when(several).then(pl.col("selection")))
    parts.append(pl.when(pl.col("beside")).then(pl.lit("leaderboard")))
    for column, label in (("environment", "code"), ("method_version", "file")):
        version = pl.col(column).fill_null("unknown").str.slice(0, 7)
        several = version.n_unique().over("method", "beside") > 1
        if column == "environment":
            of_model = version.n_unique().over("method", "beside", "ablation", "selection", "model")
            several = of_model.max().over("method", "beside") > 1
        parts.append(pl.when(several).then(pl.format(f"{label} {{}}", version)))
    return pl.concat_str(parts, separator=", ", ignore_nulls=True)


def _natural(name: str) -> list[str | int]:
    """A sort key in which numbers within names count as numbers: 3, 13, models/3, models/13."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]
