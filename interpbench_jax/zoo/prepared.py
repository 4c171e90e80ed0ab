"""All that comes before training a model, and that can fail."""

from collections.abc import Sequence
from typing import NamedTuple

import jax

from interpbench_jax.cases import Case
from interpbench_jax.compiler import CompiledCase, compile_case
from interpbench_jax.siit import (
    Alignment,
    Member,
    SiitProblem,
    align,
    device_mesh,
    make_problem,
    n_trained_on,
)
from interpbench_jax.zoo.pairs import TRAINING_SEED


class Prepared(NamedTuple):
    """A case, ready to be trained on; see `prepare`."""

    compiled: CompiledCase
    alignment: Alignment
    problem: SiitProblem

    @property
    def name(self) -> str:
        """Of the case."""
        return self.compiled.case.name


def prepare(case: Case | str, crowd: Sequence[Member]) -> Prepared:
    """Compiles a case and draws its pairs; whoever is to be refused is refused here.

    Args:
      case: the case or its name.
      crowd: the members to train.

    Raises:
      ValueError: there is no such case, its pairs cannot be divided into those to train on and
        those held out, the devices cannot all be used, or there are several processes.
    """
    config = crowd[0].config
    if jax.process_count() > 1:
        raise ValueError(
            f"models are made and written by one process, not by {jax.process_count()}; "
            "`train_siit` and `train_together` run in several"
        )
    device_mesh(len(crowd), config.batch_size)
    compiled = compile_case(case)
    alignment = align(compiled, padded=config.min_length is not None, same_size=config.same_size)
    problem = make_problem(
        compiled,
        alignment,
        jax.random.key(TRAINING_SEED),
        n_pairs=config.n_pairs,
        min_length=config.min_length,
    )
    n_trained_on(problem.n_pairs, config.held_out)
    return Prepared(compiled, alignment, problem)
