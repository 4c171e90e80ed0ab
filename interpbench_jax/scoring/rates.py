"""True and false positive rates and precision: at every threshold, or of given circuits."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from interpbench_jax.discovery import Selection
from interpbench_jax.model import Circuit
from interpbench_jax.scoring.items import Level, MethodScores, edge_items


class Rates(NamedTuple):
    """Rates of circuits.

    Attributes:
      threshold: an edge is kept if its value (see `Items`) is at least this.
      n_kept: number of kept edges.
      true_positive_rate: share of the true edges that are kept, also called recall; NaN if there
        are no true edges.
      false_positive_rate: share of the false edges that are kept; NaN if there are none.
      precision: share of the kept edges that are true; NaN if none are kept.
    """

    threshold: Float[np.ndarray, " threshold"]
    n_kept: Int[np.ndarray, " threshold"]
    true_positive_rate: Float[np.ndarray, " threshold"]
    false_positive_rate: Float[np.ndarray, " threshold"]
    precision: Float[np.ndarray, " threshold"]


def edge_rates(
    scores: MethodScores,
    truth: Circuit,
    *,
    level: Level = "head",
    selection: Selection = "top_n",
) -> Rates:
    """Rates at every threshold at which the kept edges change, the highest first.

    Tied edges are kept together.

    Args:
      scores: scores of any method.
      truth: the circuit to be found.
      level: see `edge_roc`.
      selection: see `edge_roc`.

    Raises:
      ValueError: the scores do not fit the circuit's graph, or contain NaN.
    """
    values, positive = edge_items(scores, truth, level=level, selection=selection)
    thresholds = np.unique(values)[::-1]
    return rates(thresholds, values[None] >= thresholds[:, None], positive)


def rates(
    thresholds: Float[np.ndarray, " threshold"],
    kept: Bool[np.ndarray, "threshold item"],
    positive: Bool[np.ndarray, " item"],
) -> Rates:
    """Computes the rates of circuits.

    Args:
      thresholds: the threshold of each circuit.
      kept: the items of each circuit.
      positive: the items of the true circuit.
    """
    n_kept, right = kept.sum(1), kept[:, positive].sum(1)
    return Rates(
        thresholds,
        n_kept,
        _share(right, positive.sum()),
        _share(n_kept - right, (~positive).sum()),
        _share(right, n_kept),
    )


def _share(part: np.ndarray, whole: np.ndarray | np.integer) -> Float[np.ndarray, " threshold"]:
    whole = np.broadcast_to(whole, part.shape)
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
