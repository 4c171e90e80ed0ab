"""Agreement under many sets: a few pairs for all of them, all pairs for the worst."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from interpbench_jax.alignment.edge_levels import EdgeLevel
from interpbench_jax.evaluation.edge_judge import ROWS, Blocks, EdgeJudge, Judged

# Of the sets evaluated on some pairs, the worst quarter is evaluated on four times as many.
_QUARTER = 4
# At last, sets that look worst are evaluated on all pairs, this many at a time.
_N_WORST = 8


class Screened(NamedTuple):
    """Agreement under sets; see `screened`.

    Attributes:
      agreement: under each set; from all pairs where it is least.
      mean: mean over the sets, all of them on equally many pairs.
      n_pairs: number of pairs on which every set was evaluated.
      unanswered: share of the (set, pair) rows in which some position has no answer.
    """

    agreement: Float[np.ndarray, " set"]
    mean: float
    n_pairs: int
    unanswered: float


def screened(
    judge: EdgeJudge,
    level: EdgeLevel,
    blocks: Blocks,
    sets: Bool[np.ndarray, "set unit"],
    n_runs: int,
    patched_at: Bool[np.ndarray, "set pos"] | None = None,
) -> Screened:
    """Agreement under each set on some pairs, and under the worst sets on all pairs.

    This is successive halving (Karnin, Koren and Somekh 2013), with quarters.

    Args:
      judge: the model and the right answers.
      level: the units that sets consist of.
      blocks: pairs of inputs.
      sets: the units that are patched together.
      n_runs: approximate number of runs at first, and in each further step.
      patched_at: the positions at which each set is patched; all by default.
    """

    def judged(some: slice | np.ndarray, n_runs: int | None) -> Judged:
        here = None if patched_at is None else patched_at[some]
        return judge.judge(level, blocks, sets[some], patched_at=here, n_runs=n_runs)

    found = judged(slice(None), n_runs)
    agreed, n_blocks = found.agreement, found.blocks
    mean = float(np.nanmean(agreed)) if (found.total > 0).any() else float("nan")
    seen = np.full(len(sets), n_blocks == len(blocks.base))
    # A set may have answers only on other pairs, and they may be wrong.
    silent = np.flatnonzero(np.isnan(agreed) & ~seen)
    if len(silent):
        agreed[silent] = judged(silent, None).agreement
        seen[silent] = True
    # Few pairs can make a set look too good: those that look worst get more pairs, step by step.
    worst = np.flatnonzero(~seen)
    while n_blocks < len(blocks.base) and len(worst):
        worst = worst[np.argsort(agreed[worst])[: math.ceil(len(worst) / _QUARTER)]]
        n_blocks = min(_QUARTER * n_blocks, len(blocks.base))
        agreed[worst] = judged(worst, len(worst) * n_blocks * ROWS).agreement
        seen[worst] = n_blocks == len(blocks.base)
    # Or too bad: repeat until the worst set was evaluated on all pairs.
    while len(sets) and not seen[place_of_least(agreed)]:
        worst = np.flatnonzero(~seen)[np.argsort(agreed[~seen])[:_N_WORST]]
        agreed[worst] = judged(worst, None).agreement
        seen[worst] = True
    return Screened(agreed, mean, found.blocks * ROWS, found.unanswered)


def least(agreed: Float[np.ndarray, "*shape"]) -> float:
    """The smallest agreement, ignoring NaN; NaN if there is no other."""
    return float(np.fmin.reduce(agreed, axis=None, initial=np.nan))


def place_of_least(agreed: Float[np.ndarray, " set"]) -> int:
    """The place of the smallest agreement, ignoring NaN."""
    return int(np.where(np.isnan(agreed), np.inf, agreed).argmin())
