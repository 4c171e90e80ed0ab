"""How much of the model's performance a circuit keeps: faithfulness, CPR and CMD."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from interpbench_jax.discovery import ContrastBatch, Loss
from interpbench_jax.model import Graph, Params, TransformerConfig
from interpbench_jax.scoring.circuit_losses import circuit_losses
from interpbench_jax.scoring.items import EdgeScores, NodeScores
from interpbench_jax.scoring.largest import SHARES, circuit_of_size, n_of_share


class FaithfulnessCurve(NamedTuple):
    """Faithfulness of ever larger circuits, and two areas.

    Attributes:
      faithfulness: at each of `SHARES`.
      cpr: area under it (circuit performance ratio); the larger, the better the circuits do.
      cmd: area between it and 1 (circuit-model distance); the smaller, the more the circuits act
        as the model does.
    """

    faithfulness: Float[np.ndarray, " share"]
    cpr: float
    cmd: float


def faithfulness(
    params: Params,
    config: TransformerConfig,
    batch: ContrastBatch,
    loss: Loss,
    circuits: Bool[np.ndarray, "circuit writer reader"],
) -> Float[np.ndarray, " circuit"]:
    """f(C) = (m(C) - m(empty)) / (m(N) - m(empty)), with m the loss with its sign turned.

    1 says that the circuit does as well as the whole model N, 0 that it does as well as a model
    of which every edge is patched; it can be more or less.

    Args:
      params: weights.
      config: their shape.
      batch: inputs; what is patched in is its ablation.
      loss: `(logits, batch) -> scalar`.
      circuits: true at the edges that are left alone.

    Returns:
      f per circuit; NaN where the whole and the empty circuit do equally well.

    Source: Mueller et al. 2025, MIB, section 3; unnormalised in Wang et al. 2022.
    """
    ends = np.stack([np.zeros(circuits.shape[1:], bool), np.ones(circuits.shape[1:], bool)])
    losses = circuit_losses(params, config, batch, loss, np.concatenate([ends, circuits]))
    empty, whole = losses[:2]
    if whole == empty:
        return np.full(len(circuits), np.nan)
    return (losses[2:] - empty) / (whole - empty)


def faithfulness_curve(
    params: Params,
    config: TransformerConfig,
    batch: ContrastBatch,
    loss: Loss,
    scores: EdgeScores | NodeScores,
) -> FaithfulnessCurve:
    """Scores the circuits that have the given shares of all edges, those with the largest scores.

    Args:
      params: weights.
      config: their shape.
      batch: inputs; what is patched in is its ablation.
      loss: `(logits, batch) -> scalar`.
      scores: of any method, on any inputs; an edge counts by the size of its score.

    Raises:
      ValueError: the scores do not fit the model's graph, or contain NaN.

    Source: Mueller et al. 2025, MIB, section 3.
    """
    graph = Graph.of(config)
    sizes = [n_of_share(share, len(graph.edges)) for share in SHARES]
    circuits = np.stack([circuit_of_size(scores, graph, n) for n in sizes])
    curve = faithfulness(params, config, batch, loss, circuits)
    return FaithfulnessCurve(curve, *areas(curve))


def areas(curve: Float[np.ndarray, " share"]) -> tuple[float, float]:
    """CPR and CMD of faithfulness at `SHARES`, by the trapezoidal rule.

    The shares begin at 0.001, so that 0.999 is the CPR of a circuit that is faithful throughout.

    Args:
      curve: faithfulness at each share.
    """
    cpr, cmd = np.trapezoid([curve, np.abs(1 - curve)], SHARES, axis=1)
    return float(cpr), float(cmd)
