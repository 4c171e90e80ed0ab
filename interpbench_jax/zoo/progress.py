"""The report of a training run after every round, for progress bars, files and dashboards."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from interpbench_jax.siit import SiitConfig, TrainState
from interpbench_jax.siit.step import IIT, STRICT


class Progress(NamedTuple):
    """One round of one run; lists have an entry per member, NaN once a member has ended.

    Attributes:
      case: name of the case.
      round: number of finished rounds.
      batches: number of finished batches.
      batches_per_second: speed since the first round of this process, in which it is None, as that
        round compiles.
      losses: behaviour, IIT and strict loss, averaged over the round.
      loss: their weighted sum.
      accuracy: share of positions that are right.
      iia: the worst IIA of any variable.
      siia: the worst SIIA of any node outside the circuit.
      edges: the worst agreement of any evaluated check of patched edges; 1 if there are none.
      done: whether the member has ended.
      diverged: whether it ended because a loss was not finite.
      leading: the best member so far, among those that still run.
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
"""A function called after every round, for example to draw a progress bar or write a line."""


def progress_of(
    state: TrainState, case: str, config: SiitConfig, batches_per_second: float | None
) -> Progress:
    """The report of a training state's last round."""
    last = int(state.round.max())
    scores = [np.asarray(x)[:, last - 1] for x in state.history.scores]
    accuracy, iia, siia = scores[0], *(x.min(-1, initial=1.0) for x in scores[1:3])
    edges = np.where(np.isnan(accuracy), np.nan, np.fmin.reduce(scores[3], -1, initial=1.0))
    losses, weights = np.asarray(state.history.losses)[:, last - 1], np.asarray(state.rates.weights)
    # The scores that count for any member, as in the final choice of the best member.
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
