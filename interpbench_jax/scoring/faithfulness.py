"""Faithfulness, CPR and CMD: how much of the model's performance a circuit keeps."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from interpbench_jax.discovery import ContrastBatch, Loss, Selection
from interpbench_jax.model import Params, TransformerConfig
from interpbench_jax.model.network import Network, as_network
from interpbench_jax.scoring.circuit_losses import circuit_losses
from interpbench_jax.scoring.circuits import circuits_of_size
from interpbench_jax.scoring.items import MethodScores
from interpbench_jax.scoring.node_scores import By
from interpbench_jax.scoring.shares import SHARES, n_of_share

LEAST_GAIN = 0.01
"""If patching every edge raises the loss by less than this share of it, faithfulness is NaN."""


class FaithfulnessCurve(NamedTuple):
    """Faithfulness of circuits of increasing size, and two areas.

    Attributes:
      faithfulness: faithfulness at each of `SHARES`.
      cpr: area under the curve (circuit performance ratio); larger is better.
      cmd: area between the curve and 1 (circuit-model distance); smaller means that the circuits
        behave more like the model. If scores tie, this is the expected distance, which may be
        larger than the distance of the expected faithfulness.
    """

    faithfulness: Float[np.ndarray, " share"]
    cpr: float
    cmd: float


def faithfulness(
    params: Params,
    network: TransformerConfig | Network,
    batch: ContrastBatch,
    loss: Loss,
    circuits: Bool[np.ndarray, "circuit writer reader"],
) -> Float[np.ndarray, " circuit"]:
    """f(C) = (m(C) - m(empty)) / (m(N) - m(empty)), where m is the negative loss.

    1 means that the circuit performs as well as the whole model N, 0 that it performs like a model
    with every edge patched. Values outside this range are possible.

    Args:
      params: weights.
      network: a transformer's shape, or another network.
      batch: inputs and the source of patches.
      loss: `(logits, batch) -> scalar`.
      circuits: true at edges that are not patched.

    Returns:
      f for each circuit. NaN if the whole model is not better than the empty circuit by at least
      `LEAST_GAIN` of the larger loss: the denominator would be close to zero.

    Source: Mueller et al. 2025, MIB, section 3; unnormalised in Wang et al. 2022.
    """
    ends = np.stack([np.zeros(circuits.shape[1:], bool), np.ones(circuits.shape[1:], bool)])
    losses = circuit_losses(params, network, batch, loss, np.concatenate([ends, circuits]))
    empty, whole = losses[:2]
    if not empty - whole >= LEAST_GAIN * max(abs(empty), abs(whole), np.finfo(np.float32).tiny):
        return np.full(len(circuits), np.nan)
    return (losses[2:] - empty) / (whole - empty)


def faithfulness_curve(
    params: Params,
    network: TransformerConfig | Network,
    batch: ContrastBatch,
    loss: Loss,
    scores: MethodScores,
    *,
    selection: Selection = "top_n",
    by: By = "absolute",
) -> FaithfulnessCurve:
    """Scores circuits with the first edges, for each share of all edges in `SHARES`.

    If edges tie for the last places, results are expected values over their orders; see `n_best`.
    The loss should use other inputs than the scores; on the same inputs it would reward
    overfitting.

    Args:
      params: weights.
      network: a transformer's shape, or another network.
      batch: inputs and the source of patches.
      loss: `(logits, batch) -> scalar`.
      scores: scores of any method, on any inputs.
      selection: the order in which edges are taken.
      by: `absolute` orders edges by absolute score, `signed` by signed score (edges that help come
        first).

    Raises:
      ValueError: the scores do not fit the model's graph, or contain NaN.

    Source: Mueller et al. 2025, MIB, section 3.
    """
    graph = as_network(network).graph
    sizes = [n_of_share(share, len(graph.edges)) for share in SHARES]
    circuits = [circuits_of_size(scores, graph, n, selection=selection, by=by) for n in sizes]
    values = faithfulness(
        params, network, batch, loss, np.concatenate([found.masks for found in circuits])
    )
    ends = np.cumsum([len(found.chances) for found in circuits])[:-1]
    per_share = list(zip(circuits, np.split(values, ends), strict=True))
    curve = np.array([found.chances @ f for found, f in per_share])
    distance = np.array([found.chances @ np.abs(1 - f) for found, f in per_share])
    return FaithfulnessCurve(curve, area(curve), area(distance))


def area(curve: Float[np.ndarray, " share"]) -> float:
    """The area under a curve at `SHARES`, by the trapezoidal rule.

    The shares begin at 0.001, so a curve that is 1 at all shares has an area of 0.999.
    """
    return float(np.trapezoid(curve, SHARES))
