"""The AUROC of the InterpBench paper: a pessimistic staircase over a fixed grid of thresholds."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from interpbench_jax.model import Circuit
from interpbench_jax.scoring.items import Level, MethodScores, edge_items
from interpbench_jax.scoring.rates import rates

PAPER_THRESHOLDS: tuple[float, ...] = (0.0, *(float(t) for t in np.logspace(-5, 3, 18)))
"""The paper's 19 thresholds: 0, and 18 from 1e-5 to 1e3."""


def staircase_auroc(
    scores: MethodScores,
    truth: Circuit,
    *,
    level: Level = "head",
    thresholds: Sequence[float] = PAPER_THRESHOLDS,
) -> float:
    """Area below the steps through the points of the circuits found at the thresholds.

    It applies thresholds to the scores themselves, independent of the selection, and so depends on
    their unit: a perfect ranking gets 0 if all scores lie between two adjacent thresholds, or below
    the smallest.

    Args:
      scores: scores of any method; an edge is kept if its absolute score is above the threshold.
      truth: the circuit to be found.
      level: see `edge_roc`.
      thresholds: the grid, in any order.

    Returns:
      The area; NaN if either kind of edge is missing.

    Raises:
      ValueError: the scores do not fit the circuit's graph, or contain NaN.

    Source: Gupta et al. 2024, InterpBench, section 5, after Conmy et al. 2023.
    """
    values, positive = edge_items(scores, truth, level=level)
    grid = np.asarray(thresholds, float)
    found = rates(grid, values[None] > grid[:, None], positive)
    return area_below_steps(found.false_positive_rate, found.true_positive_rate)


def area_below_steps(
    false_positive_rate: Float[np.ndarray, " point"],
    true_positive_rate: Float[np.ndarray, " point"],
) -> float:
    """Area in which the lower of two adjacent points counts; (0, 0) and (1, 1) are added.

    Args:
      false_positive_rate: rates of the points, in any order.
      true_positive_rate: rates of the same points; must not fall when the other rate rises.
    """
    x = np.concatenate([[0.0], false_positive_rate, [1.0]])
    y = np.concatenate([[0.0], true_positive_rate, [1.0]])
    order = np.lexsort((y, x))
    x, y = x[order], y[order]
    return float((np.diff(x) * y[:-1]).sum())
