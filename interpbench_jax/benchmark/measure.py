"""Every score of what one method found in one model."""

from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float

from interpbench_jax.discovery import ContrastBatch
from interpbench_jax.discovery.losses import loss_to_target
from interpbench_jax.scoring import (
    edge_average_precision,
    edge_rates,
    edge_roc,
    faithfulness,
    faithfulness_curve,
    found_circuit,
    incompleteness,
    minimality,
    node_average_precision,
    node_roc,
    share_auroc,
    staircase_auroc,
)
from interpbench_jax.scoring.items import EdgeScores, Level, NodeScores
from interpbench_jax.zoo import BenchmarkModel

# Below this difference an edge is superfluous: a hundredth of the model's performance.
_DIFFERENCE = 0.01


def measure(
    model: BenchmarkModel, batch: ContrastBatch, scores: EdgeScores | NodeScores, key: Array
) -> dict[str, Any]:
    """Scores a ranking against the true circuit, and the circuits it implies on the model.

    Args:
      model: the model that was looked at.
      batch: the inputs on which circuits are run.
      scores: of a method.
      key: a JAX random key: which edges completeness and minimality patch together.

    Returns:
      By the names of the columns of `Store`: all of `SCORES`, rates at every threshold, and
      faithfulness at MIB's shares. Missing where they are not defined.

    Raises:
      ValueError: the scores do not fit the model's graph, or contain NaN.
    """
    truth = model.circuit
    row: dict[str, Any] = {"node_auroc": node_roc(scores, truth).auroc}
    row["node_ap"] = node_average_precision(scores, truth)
    levels: dict[Level, str] = {"head": "", "qkv": "_qkv"}
    for level, suffix in levels.items():
        row[f"edge_auroc{suffix}"] = edge_roc(scores, truth, level=level).auroc
        row[f"edge_ap{suffix}"] = edge_average_precision(scores, truth, level=level)
        row[f"staircase{suffix}"] = staircase_auroc(scores, truth, level=level)
        row[f"share_auroc{suffix}"] = share_auroc(scores, truth, level=level)
        for name, values in edge_rates(scores, truth, level=level)._asdict().items():
            row[f"{level}_{name}"] = values.tolist()
    row |= _of_circuits(model, batch, scores, key)
    return {name: _plain(value) for name, value in row.items()}


def _of_circuits(
    model: BenchmarkModel, batch: ContrastBatch, scores: EdgeScores | NodeScores, key: Array
) -> dict[str, Any]:
    categorical = bool(np.issubdtype(batch.target.dtype, np.integer))
    running = (model.params, model.config, batch, loss_to_target(categorical))
    curve = faithfulness_curve(*running, scores)
    found = found_circuit(scores, model.circuit, level="qkv").mask
    key_sets, key_edges = jax.random.split(key)
    gaps = incompleteness(*running, found, key_sets)
    differences: Float[np.ndarray, " edge"] = minimality(*running, found, key_edges)
    return {
        "faithfulness_curve": curve.faithfulness.tolist(),
        "cpr": curve.cpr,
        "cmd": curve.cmd,
        "faithfulness": float(faithfulness(*running, found[None])[0]),
        "incompleteness": gaps.mean,
        "incompleteness_worst": gaps.worst,
        "minimality": float(differences.min()),
        "superfluous": float((differences < _DIFFERENCE).mean()),
    }


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and np.isnan(value) else value
