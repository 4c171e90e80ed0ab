"""Holds a stored model against its card: scores and node effects on freshly drawn pairs."""

from typing import Any, NamedTuple

import jax
import numpy as np

from interpbench_jax.compiler import compile_case
from interpbench_jax.evaluation import NodeEffects, node_effects, validate
from interpbench_jax.siit import SiitProblem, align, make_problem
from interpbench_jax.zoo import BenchmarkModel, metrics


class Verification(NamedTuple):
    """What a model does on pairs drawn anew.

    Attributes:
      metrics: accuracy, IIA and SIIA as fractions, mean and worst.
      effects: per writer.
    """

    metrics: dict[str, float]
    effects: NodeEffects

    def rows(self, model: BenchmarkModel) -> list[dict[str, Any]]:
        """Node effects by name, for tables and JSON; `None` where a form does not apply."""
        aligned = {variable.node for variable in model.variables}
        rows = []
        for index, node in enumerate(model.graph.writers[1:], start=1):
            row: dict[str, Any] = {"node": node, "in_circuit": node in aligned}
            for form in NodeEffects._fields:
                value = float(getattr(self.effects, form)[index])
                row[form] = None if np.isnan(value) else round(value, 4)
            rows.append(row)
        return rows


def verify_model(model: BenchmarkModel, *, n_pairs: int = 5_000, seed: int = 1) -> Verification:
    """Draws pairs of the model's case and scores the model on them.

    Args:
      model: the model; its case is compiled to know what is right.
      n_pairs: how many pairs, at most.
      seed: which pairs; training draws with seed 0.
    """
    problem = _problem(model, n_pairs, seed)
    scores = validate(model.params, model.config, problem)
    return Verification(metrics(scores), node_effects(model.params, model.config, problem))


def _problem(model: BenchmarkModel, n_pairs: int, seed: int) -> SiitProblem:
    compiled = compile_case(model.case)
    problem = make_problem(
        compiled,
        align(compiled),
        jax.random.key(seed),
        n_pairs=n_pairs,
        min_length=model.min_length,
    )
    return problem.take(slice(n_pairs))
