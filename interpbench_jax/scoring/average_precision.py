"""Average precision: the area under precision as a function of recall."""

from scipy.stats import rankdata
from sklearn.metrics import average_precision_score

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
    scores: EdgeScores | NodeScores, truth: Circuit, *, level: Level = "head"
) -> float:
    """Mean precision at the ranks of the true edges; edges with one score enter together.

    It says more than AUROC where true edges are few: a false edge above a true one costs more at
    the top of the ranking than below.

    Args:
      scores: of any method.
      truth: the circuit to be found.
      level: see `edge_roc`.

    Returns:
      The share of true edges for a method that ranks nothing, 1 for a perfect one; NaN if there
      is no true edge.

    Raises:
      ValueError: the scores do not fit the circuit's graph, or contain NaN.
    """
    return _average_precision(edge_items(scores, truth, level=level))


def node_average_precision(scores: EdgeScores | NodeScores, truth: Circuit) -> float:
    """The same over heads and MLPs, ranked as in `node_roc`.

    Raises:
      ValueError: the scores do not fit the circuit's graph, or contain NaN.
    """
    return _average_precision(node_items(scores, truth))


def _average_precision(items: Items) -> float:
    if not items.positive.any():
        return float("nan")
    return float(average_precision_score(items.positive, rankdata(items.values)))
