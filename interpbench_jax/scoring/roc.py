"""How well a method ranks the edges of the true circuit above the others."""

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Array, Float
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score, roc_curve

from interpbench_jax.model import Circuit

Level = Literal["head", "qkv"]


class Roc(NamedTuple):
    """A receiver operating characteristic and the area under it.

    Attributes:
      false_positive_rate: ascending.
      true_positive_rate: at the same thresholds.
      auroc: chance that a true item is ranked above a false one, ties counting half; NaN if
        either kind is missing.
    """

    false_positive_rate: Float[np.ndarray, " threshold"]
    true_positive_rate: Float[np.ndarray, " threshold"]
    auroc: float


def edge_roc(
    scores: Float[Array | np.ndarray, "writer reader"], truth: Circuit, *, level: Level = "head"
) -> Roc:
    """Ranks edges by the size of their score against the true circuit.

    Args:
      scores: of any method; the larger the absolute value, the more the edge matters.
      truth: the circuit to be found.
      level: `head` merges q, k and v of a head by the largest score; `qkv` keeps them apart.
        `input->logits` is scored at neither level.

    Raises:
      ValueError: the scores do not fit the circuit's graph, or contain NaN.
    """
    values = _checked_sizes(scores, truth)
    graph = truth.graph
    scored = graph.valid.copy()
    scored[0, -1] = False  # input->logits
    if level == "qkv":
        return _roc(values[scored], truth.mask[scored])
    scored = graph.to_head_level(scored)
    return _roc(graph.to_head_level(values)[scored], truth.head_mask[scored])


def node_roc(scores: Float[Array | np.ndarray, "writer reader"], truth: Circuit) -> Roc:
    """Ranks heads and MLPs by the largest score of an edge that touches them.

    Args:
      scores: of any method.
      truth: the circuit whose nodes are to be found.

    Raises:
      ValueError: the scores do not fit the circuit's graph, or contain NaN.
    """
    graph = truth.graph
    values = graph.to_head_level(np.where(graph.valid, _checked_sizes(scores, truth), 0.0))
    inner = graph.writers[1:]
    # Heads and MLPs are all writers but the first and all head-level readers but the last.
    strongest = np.maximum(values[1:].max(1), values[:, :-1].max(0))
    return _roc(strongest, np.array([node in truth.nodes for node in inner]))


def _checked_sizes(
    scores: Float[Array | np.ndarray, "writer reader"], truth: Circuit
) -> Float[np.ndarray, "writer reader"]:
    values = np.abs(np.asarray(scores, np.float64))
    if values.shape != truth.graph.valid.shape:
        raise ValueError(f"scores have shape {values.shape}, expected {truth.graph.valid.shape}")
    if np.isnan(values).any():
        writer, reader = np.argwhere(np.isnan(values))[0]
        name = f"{truth.graph.writers[writer]}->{truth.graph.readers[reader]}"
        raise ValueError(f"the score of {name} is NaN")
    return values


def _roc(values: Float[np.ndarray, " item"], positive: np.ndarray) -> Roc:
    if positive.all() or not positive.any():
        return Roc(np.array([0.0, 1.0]), np.array([0.0, 1.0]), float("nan"))
    ranks = rankdata(values)  # infinite scores are allowed here, but not by the curve
    false_positive_rate, true_positive_rate, _ = roc_curve(positive, ranks)
    return Roc(false_positive_rate, true_positive_rate, float(roc_auc_score(positive, ranks)))
