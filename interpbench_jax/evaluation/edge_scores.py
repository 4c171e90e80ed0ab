"""The main results of a certificate, for a model's card."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float

from interpbench_jax.alignment import Alignment
from interpbench_jax.alignment.edge_levels import EdgeLevel, draw_sets, qkv_level
from interpbench_jax.evaluation.edge_judge import Blocks, EdgeJudge
from interpbench_jax.evaluation.level_certificate import (
    N_RANDOM,
    N_RUNS,
    agreement_alone,
    checked_generator,
)
from interpbench_jax.evaluation.screening import least, screened
from interpbench_jax.model import Params, TransformerConfig
from interpbench_jax.model.network import Network
from interpbench_jax.siit import pairs_to_judge
from interpbench_jax.tasks import Pairs, Task

# The most single edges that a card names.
_N_WEAKEST = 5


class EdgeScores(NamedTuple):
    """The results of a certificate that a model's card holds, at q/k/v level.

    Attributes:
      edge_agreement: mean agreement under random sets of edges.
      edge_agreement_worst: agreement under the worst random set.
      edge_single_worst: agreement under the worst single edge, inside or outside.
      inert: agreement with all edges outside patched at once.
      weakest: agreement under the worst single edges; at most five, without those that agree fully.
      weakest_at: agreement under the first of these at each position, NaN where the algorithm has
        no answer; empty if there is none.
    """

    edge_agreement: float
    edge_agreement_worst: float
    edge_single_worst: float
    inert: float
    weakest: dict[str, float]
    weakest_at: Float[np.ndarray, " pos"]

    @property
    def metrics(self) -> dict[str, float]:
        """The scores by their names."""
        details = ("weakest", "weakest_at")
        return {name: value for name, value in self._asdict().items() if name not in details}


def edge_scores(
    params: Params,
    network: TransformerConfig | Network,
    task: Task,
    alignment: Alignment,
    pairs: Pairs,
    key: Array,
    *,
    n_pairs: int | None = None,
    n_random: int = N_RANDOM,
    n_runs: int = N_RUNS,
) -> EdgeScores:
    """The main results of `certify` at q/k/v level, at a small part of its cost.

    Arguments and errors are those of `certify`.
    """
    judge = EdgeJudge.of(params, network, task, alignment)
    rng = checked_generator(key, n_random, n_runs)
    level = qkv_level(alignment)
    blocks = Blocks.of(pairs_to_judge(task, alignment, pairs, n_pairs))
    drawn = screened(judge, level, blocks, draw_sets(level, rng, n_random), n_runs)
    inert, inside, outside = agreement_alone(judge, level, blocks, n_runs)
    single = np.concatenate([inside, outside.agreement])
    weakest = [place for place in np.argsort(single)[:_N_WEAKEST].tolist() if single[place] < 1]
    return EdgeScores(
        edge_agreement=drawn.mean,
        edge_agreement_worst=least(drawn.agreement),
        edge_single_worst=least(single),
        inert=inert,
        weakest={level.names[place]: float(single[place]) for place in weakest},
        weakest_at=_at_each_position(judge, level, blocks, weakest[:1]),
    )


def _at_each_position(
    judge: EdgeJudge, level: EdgeLevel, blocks: Blocks, unit: Sequence[int]
) -> Float[np.ndarray, " pos"]:
    """Agreement at each position under a patch of one unit; empty if there is none."""
    n_positions = blocks.position_weights.shape[-1] if len(unit) else 0
    patched = np.eye(len(level.names), dtype=bool)[list(unit)]
    agreed = np.zeros(n_positions)
    for place in range(n_positions):
        only = blocks.position_weights * (np.arange(n_positions) == place)
        agreed[place] = judge.judge(
            level, blocks._replace(position_weights=only.astype(np.float32)), patched
        ).agreement[0]
    return agreed
