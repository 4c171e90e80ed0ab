"""ROC and AUROC: how well a method ranks the true circuit's edges above others."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score, roc_curve

from interpbench_jax.discovery import Selection
from interpbench_jax.model import Circuit
from interpbench_jax.scoring.items import (
    Items,
    Level,
    MethodScores,
    edge_items,
    node_items,
)


class Roc(NamedTuple):
    """A receiver operating characteristic and the area under it.

    Attributes:
      false_positive_rate: rates in ascending order.
      true_positive_rate: rates at the same thresholds.
      auroc: probability that a true item is ranked above a false one, where ties count half; NaN if
        either kind is missing.
    """

    false_positive_rate: Float[np.ndarray, " threshold"]
    true_positive_rate: Float[np.ndarray, " threshold"]
    auroc: float


def edge_roc(
    scores: MethodScores,
    truth: Circuit,
    *,
    level: Level = "head",
    selection: Selection = "top_n",
) -> Roc:
    """Ranks edges against the true circuit.

    Scores below `SCORE_RESOLUTION` times the largest score tie. Edges are ranked one by one, so
    dead ends are ranked too; they are removed only from circuits.

    Args:
      scores: scores of any method; a larger absolute value means a more important edge.
        `edge_scores_of_nodes` converts scores of nodes.
      truth: the circuit to be found.
      level: `head` merges q, k and v of a head by the largest score; `qkv` keeps them separate.
        `input->logits` is not scored at either level.
      selection: `top_n` ranks edges by absolute score; `greedy` by the order in which a search from
        the logits takes them, see `greedy_places`.

    Raises:
      ValueError: the scores do not fit the circuit's graph, or contain NaN.
    """
    return _roc(edge_items(scores, truth, level=level, selection=selection))


def node_roc(scores: MethodScores, truth: Circuit, *, selection: Selection = "top_n") -> Roc:
    """Ranks heads and MLPs by their score, or by the largest score of an edge that touches them.

    Args:
      scores: scores of any method.
      truth: the circuit whose nodes are to be found.
      selection: as for edges; a search reaches a node by the first edge that leaves it.

    Raises:
      ValueError: the scores do not fit the circuit's graph, or contain NaN.
    """
    return _roc(node_items(scores, truth, selection=selection))


def _roc(items: Items) -> Roc:
    positive = items.positive
    if positive.all() or not positive.any():
        return Roc(np.array([0.0, 1.0]), np.array([0.0, 1.0]), float("nan"))
    ranks = rankdata(items.values)  # allows infinite scores, unlike the curve
    false_positive_rate, true_positive_rate, _ = roc_curve(positive, ranks)
    return Roc(false_positive_rate, true_positive_rate, float(roc_auc_score(positive, ranks)))
