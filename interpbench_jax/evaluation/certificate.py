"""The certificate: agreement of a model with its algorithm under patches of edges."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array

from interpbench_jax.alignment import Alignment
from interpbench_jax.alignment.edge_levels import head_level, qkv_level
from interpbench_jax.evaluation.edge_judge import Blocks, EdgeJudge
from interpbench_jax.evaluation.level_certificate import (
    N_RANDOM,
    N_RUNS,
    LevelCertificate,
    certify_level,
    checked_generator,
)
from interpbench_jax.evaluation.position_certificate import (
    PositionCertificate,
    certify_at_positions,
)
from interpbench_jax.files import finite_or_none
from interpbench_jax.model import Params, TransformerConfig
from interpbench_jax.model.network import Network
from interpbench_jax.siit import pairs_to_judge
from interpbench_jax.tasks import HELD_OUT, Pairs, Task
from interpbench_jax.tasks.task import AnswersAtPositions

# Up to this many sequences, accuracy is measured on all of them.
_LISTED = 10_000


class Certificate(NamedTuple):
    """Whether a model follows its algorithm under patches of edges; see `LevelCertificate`.

    Attributes:
      accuracy: agreement without a patch.
      n_inputs: number of inputs on which accuracy was measured.
      every_input: whether these are all inputs of the task.
      n_pairs: number of (base, source) pairs on which patches were evaluated.
      qkv: with q, k and v of a head separate.
      head: with q, k and v of a head merged.
      positions: with edges patched at some positions only; None if the algorithm does not say at
        which position its values are.
    """

    accuracy: float
    n_inputs: int
    every_input: bool
    n_pairs: int
    qkv: LevelCertificate
    head: LevelCertificate
    positions: PositionCertificate | None

    def describe(self) -> dict[str, Any]:
        """The result as plain data for JSON."""
        return {
            **self._asdict(),
            "accuracy": finite_or_none(self.accuracy),
            "qkv": self.qkv.describe(),
            "head": self.head.describe(),
            "positions": None if self.positions is None else self.positions.describe(),
        }


def certify(
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
) -> Certificate:
    """Patches corresponding edges of a model and its algorithm, and compares their answers.

    If the number of sets times pairs exceeds `n_runs`, every set is evaluated on some of the pairs,
    the worst quarter on four times as many, and so on (successive halving, Karnin et al. 2013); the
    worst sets are evaluated on all pairs. Then only the mean over random sets, and the agreement
    under sets other than the worst, are from some of the pairs. The greedy search uses few pairs
    too; its result is evaluated on all.

    Args:
      params: weights.
      network: a transformer's shape, or another network.
      task: the task with the algorithm.
      alignment: its alignment with the network.
      pairs: inputs that the model was not trained on.
      key: random key for the sets.
      n_pairs: number of pairs on which patches are evaluated, chosen by `pairs_to_judge`; all by
        default. Accuracy is measured on all.
      n_random: number of random sets.
      n_runs: approximate number of runs for each part, before the worst sets are evaluated again.

    Raises:
      ValueError: a number is smaller than 1.
    """
    judge = EdgeJudge.of(params, network, task, alignment)
    rng = checked_generator(key, n_random, n_runs)
    level = qkv_level(alignment)
    inputs = _every_input(task)
    every_input = inputs is not None
    inputs = pairs if inputs is None else inputs
    accuracy = judge.judge(level, Blocks.of(inputs), np.zeros((1, len(level.names)), bool))
    pairs = pairs_to_judge(task, alignment, pairs, n_pairs)
    blocks = Blocks.of(pairs)
    qkv, head = (
        certify_level(judge, one, blocks, len(pairs.base), rng, n_random, n_runs)
        for one in (level, head_level(alignment))
    )
    at_positions = None
    if isinstance(task.defined_answers, AnswersAtPositions):
        at_positions = certify_at_positions(
            judge, level, blocks, len(pairs.base), rng, n_random, n_runs
        )
    return Certificate(
        accuracy=float(accuracy.agreement[0]),
        n_inputs=len(inputs.base),
        every_input=every_input,
        n_pairs=len(pairs.base),
        qkv=qkv,
        head=head,
        positions=at_positions,
    )


def _every_input(task: Task) -> Pairs | None:
    """All inputs of a task, paired with themselves; None if there are many, or some are rare."""
    inputs = task.split(HELD_OUT).inputs
    n = inputs.n_sequences()
    if n is None or n > _LISTED or not inputs.uniform:
        return None
    rows = inputs.all_sequences()
    return task.encode_pairs(rows, rows)
