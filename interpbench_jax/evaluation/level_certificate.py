"""Agreement under patches of edges at one level: single units, random sets, and a search."""

from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool, Float

from interpbench_jax.alignment.edge_levels import EdgeLevel, draw_sets
from interpbench_jax.evaluation.edge_judge import MOST_SETS, ROWS, Blocks, EdgeJudge
from interpbench_jax.evaluation.necessity import necessity
from interpbench_jax.evaluation.screening import Screened, least, place_of_least, screened
from interpbench_jax.files import finite_or_none

N_RANDOM = 1_000
"""Default number of random sets of edges."""

N_RUNS = 256_000
"""Default number of patched runs for each part of a certificate, approximately."""


class LevelCertificate(NamedTuple):
    """Agreement under patches of edges, at q/k/v or at head level.

    Agreement is the share of positions at which the model gives the algorithm's answer with the
    corresponding edges patched, among the positions at which the algorithm has an answer. NaN if it
    has no answer at all.

    Attributes:
      names: names of the patched units: first those of the circuit, then those outside.
      n_inside: number of units of the circuit.
      inert: agreement with all units outside patched at once.
      inside: agreement with each unit of the circuit patched alone.
      outside: agreement with each unit outside patched alone.
      outside_pairs: number of pairs on which each of these was evaluated; the worst ones on all.
      random_mean: mean agreement under random sets.
      random: agreement under each random set.
      random_pairs: number of pairs on which each of these was evaluated; the worst ones on all.
      worst: agreement under the worst random set.
      worst_set: the units of that set.
      searched: agreement under the worst set that a greedy search finds, starting from the worst
        random set or the empty set.
      searched_set: the units of that set.
      necessity: for each unit of the circuit, the share of positions with the changed answer among
        the positions where patching the unit changes the algorithm's answer; NaN if no tested patch
        changes an answer.
      unanswered: share of the (random set, pair) rows in which some position has no answer.
    """

    names: tuple[str, ...]
    n_inside: int
    inert: float
    inside: Float[np.ndarray, " inside"]
    outside: Float[np.ndarray, " outside"]
    outside_pairs: int
    random_mean: float
    random: Float[np.ndarray, " random"]
    random_pairs: int
    worst: float
    worst_set: Bool[np.ndarray, " unit"]
    searched: float
    searched_set: Bool[np.ndarray, " unit"]
    necessity: Float[np.ndarray, " inside"]
    unanswered: float

    def of_set(self, chosen: Bool[np.ndarray, " unit"]) -> list[str]:
        """The names of the units in a set."""
        return [name for name, in_it in zip(self.names, chosen, strict=True) if in_it]

    def describe(self) -> dict[str, Any]:
        """The result as plain data for JSON."""
        inside, outside = self.names[: self.n_inside], self.names[self.n_inside :]
        return finite_or_none(
            {
                "inert": self.inert,
                "inside": dict(zip(inside, self.inside.tolist(), strict=True)),
                "outside": dict(zip(outside, self.outside.tolist(), strict=True)),
                "outside_pairs": self.outside_pairs,
                "random_mean": self.random_mean,
                "random": self.random.tolist(),
                "random_pairs": self.random_pairs,
                "worst": self.worst,
                "worst_set": self.of_set(self.worst_set),
                "searched": self.searched,
                "searched_set": self.of_set(self.searched_set),
                "necessity": dict(zip(inside, self.necessity.tolist(), strict=True)),
                "unanswered": self.unanswered,
            }
        )


def certify_level(
    judge: EdgeJudge,
    level: EdgeLevel,
    blocks: Blocks,
    n_pairs: int,
    rng: np.random.Generator,
    n_random: int,
    n_runs: int,
) -> LevelCertificate:
    """Patches sets of a level's units in a model and its algorithm, and compares their answers.

    Args:
      judge: the model and the algorithm.
      level: the units.
      blocks: pairs of inputs.
      n_pairs: their number.
      rng: random generator for the sets.
      n_random: number of random sets.
      n_runs: approximate number of runs for each part; see `screened`.
    """
    inert, inside, outside = agreement_alone(judge, level, blocks, n_runs)
    sets = draw_sets(level, rng, n_random)
    drawn = screened(judge, level, blocks, sets, n_runs)
    worst = sets[place_of_least(drawn.agreement)]
    starts = (worst, np.zeros(len(level.names), bool))
    found = np.stack([worst, *(_search(judge, level, blocks, one, n_runs) for one in starts)])
    searched = judge.judge(level, blocks, found).agreement
    return LevelCertificate(
        names=level.names,
        n_inside=int(level.inside.sum()),
        inert=inert,
        inside=inside,
        outside=outside.agreement,
        outside_pairs=min(outside.n_pairs, n_pairs),
        random_mean=drawn.mean,
        random=drawn.agreement,
        random_pairs=min(drawn.n_pairs, n_pairs),
        worst=least(drawn.agreement),
        worst_set=worst,
        searched=least(searched),
        searched_set=found[place_of_least(searched)],
        necessity=necessity(judge, level, blocks, rng, n_runs),
        unanswered=drawn.unanswered,
    )


def agreement_alone(
    judge: EdgeJudge, level: EdgeLevel, blocks: Blocks, n_runs: int
) -> tuple[float, Float[np.ndarray, " inside"], Screened]:
    """Agreement with all units outside patched, with each unit inside, and with each outside."""
    each, inside = np.eye(len(level.names), dtype=bool), level.inside
    first = np.concatenate([~inside[None], each[inside]])
    agreed = judge.judge(level, blocks, first).agreement
    return float(agreed[0]), agreed[1:], screened(judge, level, blocks, each[~inside], n_runs)


def _search(
    judge: EdgeJudge,
    level: EdgeLevel,
    blocks: Blocks,
    start: Bool[np.ndarray, " unit"],
    n_runs: int,
) -> Bool[np.ndarray, " unit"]:
    """Searches greedily for a set with less agreement, on one block of pairs.

    It is the first block on which the set to start from has an answer. Takes `MOST_SETS` units at a
    time, and adds or removes the one that lowers agreement most, or all that lower it if this gives
    less agreement. Ends when no unit lowers agreement, or after about a quarter of `n_runs` runs.
    """
    lowest = float("nan")
    for first in range(len(blocks.base)):
        some = Blocks(*(part[first : first + 1] for part in blocks))
        lowest = least(judge.judge(level, some, start[None]).agreement)
        if not np.isnan(lowest):
            break
    here, n_units, place, in_vain, left = start, len(level.names), 0, 0, n_runs // 4
    while in_vain < n_units and left > 0:
        each = np.eye(n_units, dtype=bool)[place : place + MOST_SETS]
        agreed = judge.judge(level, some, here ^ each).agreement
        in_vain += len(each)
        if least(agreed) < lowest:
            both = here ^ np.stack([each[place_of_least(agreed)], each[agreed < lowest].any(0)])
            agreed = judge.judge(level, some, both).agreement
            here, lowest, in_vain = both[place_of_least(agreed)], least(agreed), 0
        left -= len(each) * ROWS
        place = (place + len(each)) % n_units
    return here


def checked_generator(key: Array, n_random: int, n_runs: int) -> np.random.Generator:
    """The random generator of a certificate, after checking its numbers.

    Raises:
      ValueError: a number is smaller than 1.
    """
    for name, number in (("n_random", n_random), ("n_runs", n_runs)):
        if number < 1:
            raise ValueError(f"{name} must be at least 1, got {number}")
    return np.random.default_rng(np.asarray(jax.random.key_data(key)))
