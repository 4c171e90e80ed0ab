"""The AUROC of the InterpBench paper: a pessimistic staircase over a fixed grid of thresholds."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from interpbench_jax.model import Circuit
from interpbench_jax.scoring.items import EdgeScores, Level, NodeScores, edge_items
from interpbench_jax.scoring.rates import rates

PAPER_THRESHOLDS: tuple[float, ...] = (0.0, *(float(t) for t in np.logspace(-5, 3, 18)))
"""19 of them, from 0 over 1e-5 to 1e3."""


def staircase_auroc(
    scores: EdgeScores | NodeScores,
    truth: Circuit,
    *,
    level: Level = "head",
    thresholds: Sequence[float] = PAPER_THRESHOLDS,
) -> float:
    """Area below the steps through the points of the circuits found at the thresholds.

    It is about thresholds on the scores themselves, whatever selects circuits elsewhere, and so
    depends on their unit: a perfect ranking whose scores all lie between two
    thresholds, or below the least, gets 0.

    Args:
      scores: of any method; an edge is kept where the size of its score is above the threshold.
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
    """Between two points the lower one counts; (0, 0) and (1, 1) are added.

    Args:
      false_positive_rate: of points in any order.
      true_positive_rate: of the same points; it must not fall where the other rises.
    """
    x = np.concatenate([[0.0], false_positive_rate, [1.0]])
    y = np.concatenate([[0.0], true_positive_rate, [1.0]])
    order = np.lexsort((y, x))
    x, y = x[order], y[order]
    return float((np.diff(x) * y[:-1]).sum())
