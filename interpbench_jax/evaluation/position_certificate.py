"""Agreement of a model with its algorithm if edges are patched at some positions only.

A RASP program says at which position each value is, so it has an answer under such a patch as well.
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from interpbench_jax.alignment.edge_levels import EdgeLevel, draw_positions, draw_sets
from interpbench_jax.evaluation.edge_judge import Blocks, EdgeJudge
from interpbench_jax.evaluation.screening import place_of_least, screened
from interpbench_jax.files import finite_or_none


class PositionCertificate(NamedTuple):
    """Agreement under patches of edges at some positions, with q, k and v of a head separate.

    An edge patched at a position is: there, its reader sees the source's value. BOS, the first
    position, is not patched: it is the same in all inputs.

    Attributes:
      names: names of the patched units: first those of the circuit, then those outside.
      inert: agreement with all units outside patched at one position, for each position after BOS.
      inside: agreement with each unit of the circuit patched alone, at one position.
      random_mean: mean agreement under random sets at random positions.
      random_pairs: number of pairs on which each of these was evaluated; the worst ones on all.
      worst: agreement under the worst of them.
      worst_set: the units of that set.
      worst_positions: the positions at which it was patched, BOS first.
    """

    names: tuple[str, ...]
    inert: Float[np.ndarray, " pos"]
    inside: Float[np.ndarray, "inside pos"]
    random_mean: float
    random_pairs: int
    worst: float
    worst_set: Bool[np.ndarray, " unit"]
    worst_positions: Bool[np.ndarray, " _"]

    def describe(self) -> dict[str, Any]:
        """The result as plain data for JSON."""
        inside = zip(self.names[: len(self.inside)], self.inside.tolist(), strict=True)
        return finite_or_none(
            {
                "inert": self.inert.tolist(),
                "inside": dict(inside),
                "random_mean": self.random_mean,
                "random_pairs": self.random_pairs,
                "worst": self.worst,
                "worst_set": [self.names[place] for place in np.flatnonzero(self.worst_set)],
                "worst_positions": np.flatnonzero(self.worst_positions).tolist(),
            }
        )


def certify_at_positions(
    judge: EdgeJudge,
    level: EdgeLevel,
    blocks: Blocks,
    n_pairs: int,
    rng: np.random.Generator,
    n_random: int,
    n_runs: int,
) -> PositionCertificate:
    """Patches units at some positions of a model and its algorithm, and compares their answers.

    Args:
      judge: the model and the algorithm, whose answers are `AnswersAtPositions`.
      level: the units.
      blocks: pairs of inputs.
      n_pairs: their number.
      rng: random generator for sets and positions.
      n_random: number of random sets.
      n_runs: approximate number of runs for each part; see `screened`.
    """
    n_positions = blocks.base.shape[-1]
    one = np.eye(n_positions, dtype=bool)[1:]
    inside, outside = level.inside, ~level.inside
    units = np.concatenate([outside[None], np.eye(len(inside), dtype=bool)[inside]])
    sets, patched_at = np.repeat(units, len(one), axis=0), np.tile(one, (len(units), 1))
    alone = screened(judge, level, blocks, sets, n_runs, patched_at).agreement.reshape(
        len(units), -1
    )
    sets, patched_at = draw_sets(level, rng, n_random), draw_positions(rng, n_random, n_positions)
    drawn = screened(judge, level, blocks, sets, n_runs, patched_at)
    worst = place_of_least(drawn.agreement)
    return PositionCertificate(
        names=level.names,
        inert=alone[0],
        inside=alone[1:],
        random_mean=drawn.mean,
        random_pairs=min(drawn.n_pairs, n_pairs),
        worst=float(drawn.agreement[worst]),
        worst_set=sets[worst],
        worst_positions=patched_at[worst],
    )
