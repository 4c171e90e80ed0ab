"""Results in the shape that tables and plots need: cases x entrants, seeds averaged."""

import functools
import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float

from interpbench_jax.benchmark.store import Store
from interpbench_jax.model import Circuit

KINDS = ("attention", "MLPs", "one MLP")
"""What circuits are made of; statistics are apart, since almost any method finds one MLP."""


class Results:
    """The newest result of every model, method, ablation, selection and seed.

    An *entrant* is a method, together with its ablation if results have several, and with the
    selection if they have several for one method. Results of versions that recorded no selection,
    when circuits were the best edges with dead ends among them, are an entrant of their own.
    """

    def __init__(self, store: Store) -> None:
        """Reads a store.

        Raises:
          ValueError: it has no results, or a file cannot be read.
        """
        self.store = store
        run = ["model", "method", "ablation", "selection", "seed"]
        every = store.read().with_columns(pl.col("selection").fill_null("not recorded"))
        rows = every.sort("started").unique(run, keep="last", maintain_order=True)
        entrant = [pl.col("method")]
        if rows["ablation"].n_unique() > 1:
            entrant.append(pl.col("ablation"))
        if len(rows.unique(["method", "selection"])) > rows["method"].n_unique():
            entrant.append(pl.col("selection"))
        joined = pl.concat_str(entrant, separator=", ")
        self.rows = rows.with_columns(entrant=joined).sort(run)
        self.n_superseded = len(every) - len(rows)
        self.done = self.rows.filter(pl.col("status") == "done")
        self.failed = self.rows.filter(pl.col("status") == "failed")
        self.entrants: tuple[str, ...] = tuple(
            self.rows["entrant"].unique(maintain_order=True).to_list()
        )
        self.models: tuple[str, ...] = tuple(sorted(self.done["model"].unique(), key=_natural))

    @functools.cached_property
    def kind_of(self) -> dict[str, str]:
        """Per model what its circuit is made of."""
        return dict(self.done.select("model", "kind").unique().iter_rows())

    @functools.cached_property
    def selection_of(self) -> dict[str, str]:
        """Per entrant how edges are ranked and circuits read off its scores."""
        rows = self.done.group_by("entrant").agg(pl.col("selection").unique().sort())
        return {entrant: ", ".join(names) for entrant, names in rows.iter_rows()}

    def models_of(self, kind: str) -> tuple[str, ...]:
        """The models whose circuit is made of this."""
        return tuple(model for model in self.models if self.kind_of[model] == kind)

    def table(self, score: str, models: Sequence[str]) -> Float[np.ndarray, "case entrant"]:
        """A score, mean over seeds, per model and entrant; NaN where there is none."""
        means = self._means(score)
        shape = (len(models), len(self.entrants))
        values = [means.get((model, entrant)) for model in models for entrant in self.entrants]
        return np.array([np.nan if v is None else v for v in values], float).reshape(shape)

    @functools.lru_cache(maxsize=64)  # noqa: B019 (lives as long as a report is written)
    def _means(self, score: str) -> dict[tuple[str, str], float]:
        grouped = self.done.group_by("model", "entrant").agg(pl.col(score).mean())
        return {(model, entrant): value for model, entrant, value in grouped.iter_rows()}

    def of_model(self, model: str) -> list[dict[str, Any]]:
        """The rows of one model that are done, in the order of entrants and seeds."""
        return list(self.done.filter(pl.col("model") == model).iter_rows(named=True))

    @functools.cache  # noqa: B019
    def facts(self, model_id: str) -> dict[str, Any]:
        """What the store knows of a model.

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
        return Circuit.from_json(json.dumps(self.facts(model_id)["circuit"]))


def _natural(name: str) -> list[str | int]:
    """Numbers within names in their order, as in 3, 13, models/3, models/13."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]
