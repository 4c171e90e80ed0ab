"""Average precision: the mean precision at the ranks of what is true."""

import numpy as np

from interpbench_jax.discovery import Selection
from interpbench_jax.model import Circuit
from interpbench_jax.scoring.items import (
    EdgeScores,
    Items,
    Level,
    NodeScores,
    edge_items,
    node_items,
)


def edge_average_precision(
    scores: EdgeScores | NodeScores,
    truth: Circuit,
    *,
    level: Level = "head",
    selection: Selection = "top_n",
) -> float:
    """Mean precision at the ranks of the true edges.

    It says more than AUROC where true edges are few: a false edge above a true one costs more at
    the top of the ranking than below. Where scores tie it is the expected value over the orders of
    equal edges, so that breaking ties at random changes nothing on average.

    Args:
      scores: of any method.
      truth: the circuit to be found.
      level: see `edge_roc`.
      selection: see `edge_roc`.

    Returns:
      1 for a perfect ranking; for one that knows nothing a little more than the share of true
      edges; NaN if there is no true edge.

    Raises:
      ValueError: the scores do not fit the circuit's graph, or contain NaN.

    Source: ties as in McSherry and Najork 2008.
    """
    return _average_precision(edge_items(scores, truth, level=level, selection=selection))


def node_average_precision(
    scores: EdgeScores | NodeScores, truth: Circuit, *, selection: Selection = "top_n"
) -> float:
    """The same over heads and MLPs, ranked as in `node_roc`.

    Raises:
      ValueError: the scores do not fit the circuit's graph, or contain NaN.
    """
    return _average_precision(node_items(scores, truth, selection=selection))


def _average_precision(items: Items) -> float:
    """The sum over ranks of the chance of a true item there times the precision expected then."""
    n_true = items.positive.sum()
    if not n_true:
        return float("nan")
    total, above, true_above = 0.0, 0, 0
    for value in np.unique(items.values)[::-1]:
        tied = items.positive[items.values == value]
        n, n_right = len(tied), int(tied.sum())
        before = np.arange(n)  # of the equal items, how many stand above
        right_before = before * (n_right - 1) / max(n - 1, 1)  # given that a true one stands here
        precision = (true_above + right_before + 1) / (above + before + 1)
        total += n_right / n * precision.sum()
        above, true_above = above + n, true_above + n_right
    return float(total / n_true)
