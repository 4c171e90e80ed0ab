"""Average precision: the mean precision at the ranks of true items."""

import numpy as np

from interpbench_jax.discovery import Selection
from interpbench_jax.model import Circuit
from interpbench_jax.scoring.items import (
    Items,
    Level,
    MethodScores,
    edge_items,
    node_items,
)


def edge_average_precision(
    scores: MethodScores,
    truth: Circuit,
    *,
    level: Level = "head",
    selection: Selection = "top_n",
) -> float:
    """Mean precision at the ranks of the true edges.

    It is more informative than AUROC if there are few true edges: a false edge above a true one
    costs more at the top of the ranking than further down. If scores tie, it is the expected value
    over the orders of equal edges, so breaking ties at random changes nothing on average.

    Args:
      scores: scores of any method.
      truth: the circuit to be found.
      level: see `edge_roc`.
      selection: see `edge_roc`.

    Returns:
      1 for a perfect ranking; slightly more than the share of true edges for a random one; NaN if
      there is no true edge.

    Raises:
      ValueError: the scores do not fit the circuit's graph, or contain NaN.

    Source: ties as in McSherry and Najork 2008.
    """
    return _average_precision(edge_items(scores, truth, level=level, selection=selection))


def node_average_precision(
    scores: MethodScores, truth: Circuit, *, selection: Selection = "top_n"
) -> float:
    """The same over heads and MLPs, ranked as in `node_roc`.

    Raises:
      ValueError: the scores do not fit the circuit's graph, or contain NaN.
    """
    return _average_precision(node_items(scores, truth, selection=selection))


def _average_precision(items: Items) -> float:
    """Sum over ranks: probability of a true item there, times the precision expected if it is."""
    n_true = items.positive.sum()
    if not n_true:
        return float("nan")
    total, above, true_above = 0.0, 0, 0
    for value in np.unique(items.values)[::-1]:
        tied = items.positive[items.values == value]
        n, n_right = len(tied), int(tied.sum())
        before = np.arange(n)  # number of equal items ranked above
        right_before = before * (n_right - 1) / max(n - 1, 1)  # given a true item at this rank
        precision = (true_above + right_before + 1) / (above + before + 1)
        total += n_right / n * precision.sum()
        above, true_above = above + n, true_above + n_right
    return float(total / n_true)
