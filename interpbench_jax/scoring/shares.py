"""MIB's shares of edges, and the AUROC over them."""

import numpy as np

from interpbench_jax.discovery import Selection
from interpbench_jax.model import Circuit
from interpbench_jax.scoring.items import Level, MethodScores, edge_items
from interpbench_jax.scoring.ties import expected_positives

SHARES: tuple[float, ...] = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Shares of all edges at which MIB scores circuits."""


def n_of_share(share: float, n_items: int) -> int:
    """The number of items in a share, rounded down as in MIB."""
    return int(share * n_items + 1e-9)


def share_auroc(
    scores: MethodScores,
    truth: Circuit,
    *,
    level: Level = "head",
    selection: Selection = "top_n",
) -> float:
    """AUROC of the best edges at MIB's ten shares, by the trapezoidal rule; (0, 0) is added.

    If edges tie, it is the expected value over their orders. The area is linear in the number of
    true edges of each share, so this equals the area under the expected rates.

    Args:
      scores: scores of any method.
      truth: the circuit to be found.
      level: see `edge_roc`; shares are of the edges scored at this level.
      selection: see `edge_roc`.

    Returns:
      The area; NaN if either kind of edge is missing.

    Raises:
      ValueError: the scores do not fit the circuit's graph, or contain NaN.

    Source: Mueller et al. 2025, MIB, on the InterpBench model.
    """
    values, positive = edge_items(scores, truth, level=level, selection=selection)
    if positive.all() or not positive.any():
        return float("nan")
    sizes = [0, *(n_of_share(share, len(values)) for share in SHARES)]
    right = np.array([expected_positives(values, positive, n) for n in sizes])
    wrong = np.array(sizes) - right
    return float(np.trapezoid(right / positive.sum(), wrong / (~positive).sum()))
