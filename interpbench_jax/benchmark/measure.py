"""Every score of one method's result on one model."""

from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Bool

from interpbench_jax.benchmark.results_store import missing_if_nan
from interpbench_jax.discovery import ContrastBatch, Loss, Selection
from interpbench_jax.discovery.losses import loss_to_target
from interpbench_jax.model import Circuit
from interpbench_jax.scoring import (
    FoundEdges,
    compared_edges,
    edge_average_precision,
    edge_rates,
    edge_roc,
    faithfulness,
    faithfulness_curve,
    found_circuits,
    found_edges,
    incompleteness,
    minimality,
    node_average_precision,
    node_roc,
    share_auroc,
    staircase_auroc,
)
from interpbench_jax.scoring.items import Level, MethodScores, judged_edges
from interpbench_jax.zoo import BenchmarkModel

# An edge whose difference is below this is superfluous: a hundredth of the model's performance.
_DIFFERENCE = 0.01
# Of larger circuits, so many edges are tested: every one needs ten runs.
_TESTED_EDGES = 100


def measure(
    model: BenchmarkModel,
    batch: ContrastBatch,
    scores: MethodScores,
    key: Array,
    *,
    selection: Selection = "top_n",
) -> dict[str, Any]:
    """Scores a ranking against the true circuit, and runs the circuits selected from it.

    Args:
      model: the model.
      batch: the inputs on which circuits are run; they should differ from the method's inputs.
      scores: scores of a method.
      key: a JAX random key for the sets of edges of completeness and minimality.
      selection: how edges are ranked and circuits selected, except in the staircase.

    Returns:
      Values by the names of the columns of `Store`: the selection, all of `SCORES`, rates at every
      threshold, and faithfulness at MIB's shares. Undefined values are missing.

    Raises:
      ValueError: the scores do not fit the model's graph, or contain NaN.
    """
    truth = model.circuit
    row: dict[str, Any] = {"selection": selection}
    row["node_auroc"] = node_roc(scores, truth, selection=selection).auroc
    row["node_ap"] = node_average_precision(scores, truth, selection=selection)
    levels: dict[Level, str] = {"head": "", "qkv": "_qkv"}
    for level, suffix in levels.items():
        how: dict[str, Any] = {"level": level, "selection": selection}
        row[f"edge_auroc{suffix}"] = edge_roc(scores, truth, **how).auroc
        row[f"edge_ap{suffix}"] = edge_average_precision(scores, truth, **how)
        row[f"staircase{suffix}"] = staircase_auroc(scores, truth, level=level)
        row[f"share_auroc{suffix}"] = share_auroc(scores, truth, **how)
        for name, values in edge_rates(scores, truth, **how)._asdict().items():
            row[f"{level}_{name}"] = values.tolist()
    edges = found_edges(scores, truth, selection=selection)
    row |= _of_set(edges, model)
    row |= _of_shares(model, batch, scores, selection)
    found = found_circuits(scores, truth, level="qkv", selection=selection)
    of_each = [
        _of_circuit(model, batch, mask, jax.random.fold_in(key, place))
        for place, mask in enumerate(found.masks)
    ]
    for name in of_each[0]:
        row[name] = float(found.chances @ np.array([of_one[name] for of_one in of_each]))
    return {name: missing_if_nan(value) for name, value in row.items()}


def measure_circuit(
    model: BenchmarkModel, batch: ContrastBatch, found: Circuit, key: Array
) -> dict[str, Any]:
    """Scores a circuit without a ranking: as a set of edges, and by running it.

    Args:
      model: the model.
      batch: the inputs on which the circuit is run.
      found: the circuit; dead ends are kept and count.
      key: as in `measure`.

    Returns:
      Values by the names of the columns of `Store`: the selection, which is `given`, and those of
      `SCORES` that are defined for a set of edges.

    Raises:
      ValueError: the circuit has another graph.
    """
    row: dict[str, Any] = {"selection": "given"}
    row |= _of_set(compared_edges(found, model.circuit), model)
    row |= _of_circuit(model, batch, found.mask, key)
    return {name: missing_if_nan(value) for name, value in row.items()}


def _of_set(edges: FoundEdges, model: BenchmarkModel) -> dict[str, float]:
    """Scores of a found circuit as a set of edges, at head level."""
    return {
        "found_edges": edges.n_true + edges.n_false,
        "found_precision": edges.precision,
        "found_recall": edges.recall,
        "found_f1": edges.f1,
        "found_accuracy": edges.accuracy(int(judged_edges(model.circuit, "head").sum())),
    }


def _of_shares(
    model: BenchmarkModel,
    batch: ContrastBatch,
    scores: MethodScores,
    selection: Selection,
) -> dict[str, Any]:
    """CPR and CMD, with edges ordered by absolute and by signed score."""
    running = (model.params, model.config, batch, _loss(batch))
    absolute = faithfulness_curve(*running, scores, selection=selection)
    signed = faithfulness_curve(*running, scores, selection=selection, by="signed")
    return {
        "faithfulness_curve": absolute.faithfulness.tolist(),
        "cpr": absolute.cpr,
        "cmd": absolute.cmd,
        "cpr_signed": signed.cpr,
        "cmd_signed": signed.cmd,
    }


def _of_circuit(
    model: BenchmarkModel,
    batch: ContrastBatch,
    circuit: Bool[np.ndarray, "writer reader"],
    key: Array,
) -> dict[str, float]:
    """Scores of running one circuit; NaN for scores that a circuit without edges lacks."""
    running = (model.params, model.config, batch, _loss(batch))
    key_sets, key_edges = jax.random.split(key)
    gaps = incompleteness(*running, circuit, key_sets)
    found = {
        "faithfulness": float(faithfulness(*running, circuit[None])[0]),
        "incompleteness": gaps.mean,
        "incompleteness_worst": gaps.worst,
        "minimality": float("nan"),
        "superfluous": float("nan"),
    }
    if circuit.any():
        differences = minimality(*running, circuit, key_edges, n_edges=_TESTED_EDGES)
        found["minimality"] = float(differences.min())
        # NaN (no performance to have a share of) is not below.
        share = float((differences < _DIFFERENCE).mean())
        found["superfluous"] = float("nan") if np.isnan(differences).any() else share
    return found


def _loss(batch: ContrastBatch) -> Loss:
    return loss_to_target(batch.categorical)
