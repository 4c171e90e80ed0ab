"""What a training run reports after every round, for bars, files and dashboards."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from interpbench_jax.siit import SiitConfig, TrainState
from interpbench_jax.siit.step import IIT, STRICT


class Progress(NamedTuple):
    """One round of one run; lists have an entry per member, NaN once a member has ended.

    Attributes:
      case: name of the case.
      round: rounds finished.
      batches: batches finished.
      batches_per_second: since the first round of this process; none in the first, which
        compiles.
      losses: behaviour, IIT and strict, mean over the round.
      loss: their weighted sum.
      accuracy: share of positions that come out right.
      iia: the worst of the variables.
      siia: the worst of the nodes outside the circuit.
      edges: the worst of the checks of patched edges; 1 where there are none.
      done: whether the member has ended.
      diverged: whether it ended because a loss was no longer finite.
      leading: which member would be kept, of those that still run.
    """

    case: str
    round: int
    batches: int
    batches_per_second: float | None
    losses: list[list[float]]
    loss: list[float]
    accuracy: list[float]
    iia: list[float]
    siia: list[float]
    edges: list[float]
    done: list[bool]
    diverged: list[bool]
    leading: int


OnProgress = Callable[[Progress], None]
"""Called after every round: draws a bar, writes a line, sends numbers to a dashboard."""


def progress_of(
    state: TrainState, case: str, config: SiitConfig, batches_per_second: float | None
) -> Progress:
    """Reads the last round off a training state."""
    last = int(state.round.max())
    scores = [np.asarray(x)[:, last - 1] for x in state.history.scores]
    accuracy, iia, siia, edges = scores[0], *(x.min(-1, initial=1.0) for x in scores[1:])
    losses, weights = np.asarray(state.history.losses)[:, last - 1], np.asarray(state.rates.weights)
    # What counts for any member, as when the best of them is chosen in the end.
    counts = weights.max(0) > 0
    nodes = np.minimum(np.where(counts[IIT], iia, 1), np.where(counts[STRICT], siia, 1))
    worst = np.minimum(np.minimum(accuracy, nodes), edges)
    return Progress(
        case=case,
        round=last,
        batches=config.batches_after(last),
        batches_per_second=batches_per_second,
        losses=losses.tolist(),
        loss=(losses * weights).sum(-1).tolist(),
        accuracy=accuracy.tolist(),
        iia=iia.tolist(),
        siia=siia.tolist(),
        edges=edges.tolist(),
        done=np.asarray(state.done).tolist(),
        diverged=np.asarray(state.diverged).tolist(),
        leading=int(np.nan_to_num(worst, nan=-1).argmax()),
    )
