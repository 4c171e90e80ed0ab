"""Circuits of a given size from scores, and the shares of edges that MIB looks at."""

import numpy as np
from jaxtyping import Bool, Float

from interpbench_jax.model import Circuit, Graph
from interpbench_jax.scoring.items import EdgeScores, Level, NodeScores, edge_items, edge_sizes
from interpbench_jax.scoring.rates import rates

SHARES: tuple[float, ...] = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Shares of all edges at which MIB scores circuits."""


def largest(values: Float[np.ndarray, " item"], n: int) -> Bool[np.ndarray, " item"]:
    """Marks the `n` largest; of those that are equal the first."""
    marked = np.zeros(len(values), bool)
    marked[np.argsort(-values, kind="stable")[:n]] = True
    return marked


def n_of_share(share: float, n_items: int) -> int:
    """How many items a share is, rounded down as in MIB."""
    return int(share * n_items + 1e-9)


def circuit_of_size(
    scores: EdgeScores | NodeScores, graph: Graph, n: int
) -> Bool[np.ndarray, "writer reader"]:
    """The mask of the `n` edges with the largest scores, q, k and v apart, `input->logits` too.

    Exactly `n`: edges tied with the last one are taken in graph order.

    Args:
      scores: of any method.
      graph: the model's graph.
      n: how many edges.

    Raises:
      ValueError: the scores do not fit the graph, or contain NaN.
    """
    mask = np.zeros(graph.valid.shape, bool)
    mask[graph.valid] = largest(edge_sizes(scores, graph)[graph.valid], n)
    return mask


def share_auroc(scores: EdgeScores | NodeScores, truth: Circuit, *, level: Level = "head") -> float:
    """AUROC of the circuits at MIB's ten shares, by the trapezoidal rule; (0, 0) and (1, 1) added.

    Args:
      scores: of any method.
      truth: the circuit to be found.
      level: see `edge_roc`; shares are of the edges scored at this level.

    Returns:
      The area; NaN if either kind of edge is missing.

    Raises:
      ValueError: the scores do not fit the circuit's graph, or contain NaN.

    Source: Mueller et al. 2025, MIB, on the InterpBench model.
    """
    values, positive = edge_items(scores, truth, level=level)
    kept = np.stack([largest(values, n_of_share(share, len(values))) for share in SHARES])
    found = rates(np.array(SHARES), kept, positive)
    x = np.concatenate([[0.0], found.false_positive_rate, [1.0]])
    y = np.concatenate([[0.0], found.true_positive_rate, [1.0]])
    return float(np.trapezoid(y, x))
