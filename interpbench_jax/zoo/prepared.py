"""All that comes before training a model, and that can fail."""

from collections.abc import Sequence
from typing import NamedTuple

import jax

from interpbench_jax.alignment import Alignment, align
from interpbench_jax.cases import Case, Part, Split, pairs_per_part
from interpbench_jax.compiler import CompiledCase, compile_case
from interpbench_jax.siit import (
    Member,
    SiitProblem,
    device_mesh,
    problem_of_pairs,
)

_SEED = 0
"""Of the pairs, whatever the seeds of the models."""


class Prepared(NamedTuple):
    """A case, ready to be trained on; see `prepare`.

    Attributes:
      compiled: its high-level model.
      alignment: where the algorithm shall live in the trained model.
      split: which sequences are for what.
      training: pairs to train on.
      validation: pairs that decide when to stop, and which weights and which member are best.
      test: pairs that decide nothing; the scores in the card are of these.
    """

    compiled: CompiledCase
    alignment: Alignment
    split: Split
    training: SiitProblem
    validation: SiitProblem
    test: SiitProblem

    @property
    def name(self) -> str:
        """Of the case."""
        return self.compiled.case.name


def prepare(case: Case | str, members: Sequence[Member]) -> Prepared:
    """Compiles a case, divides its sequences and draws pairs of each part.

    All that can be wrong with the input of a training run is found here.

    Args:
      case: the case or its name.
      members: to be trained.

    Raises:
      ValueError: there is no such case, too few pairs to hold some out, devices that cannot be
        used together, or several processes.
    """
    config = members[0].config
    if jax.process_count() > 1:
        raise ValueError(
            f"models are made and written by one process, not by {jax.process_count()}; "
            "`train_siit` and `train_together` run in several"
        )
    counts = pairs_per_part(config.n_pairs, config.held_out)
    device_mesh(len(members), config.batch_size)
    compiled = compile_case(case)
    alignment = align(compiled, padded=config.min_length is not None, same_size=config.same_size)
    split = Split.of(compiled.case, held_out=config.held_out, min_length=config.min_length)

    def problem(n_pairs: int, part: Part) -> SiitProblem:
        pairs = split.pairs(part, n_pairs, jax.random.key(_SEED))
        return problem_of_pairs(compiled, alignment, *pairs)

    if split.divided:
        parts = [problem(n_pairs, part) for part, n_pairs in counts.items()]
    else:
        parts = [problem(config.n_pairs, "train")] * len(counts)
    return Prepared(compiled, alignment, split, *parts)
