"""All that comes before training a model, and that can fail."""

from collections.abc import Sequence
from typing import NamedTuple

import jax

from interpbench_jax.alignment import Alignment, align
from interpbench_jax.compiler import get_task
from interpbench_jax.model import TransformerConfig
from interpbench_jax.siit import (
    Member,
    SiitConfig,
    SiitProblem,
    device_mesh,
    draw_edge_sets,
    problem_of_pairs,
    usual_checks,
)
from interpbench_jax.tasks import Pairs, Part, Split, Task, pairs_per_part

_SEED = 0
"""Of the pairs, whatever the seeds of the models."""


class Prepared(NamedTuple):
    """A task, ready to be trained on; see `prepare`.

    Attributes:
      task: the algorithm.
      alignment: where it shall live in the trained model.
      split: which sequences are for what.
      training: pairs to train on.
      validation: pairs that decide when to stop, and which weights and which member are best.
      test: pairs that decide nothing; the scores in the card are of these.
    """

    task: Task
    alignment: Alignment[TransformerConfig]
    split: Split
    training: SiitProblem
    validation: SiitProblem
    test: SiitProblem

    @property
    def name(self) -> str:
        """Of the task."""
        return self.task.name


def prepare(task: Task | str, members: Sequence[Member]) -> Prepared:
    """Divides a task's sequences, and draws pairs of each part.

    All that can be wrong with the input of a training run is found here.

    Args:
      task: the task or its name.
      members: to be trained.

    Raises:
      ValueError: there is no such task, too few pairs to hold some out, devices that cannot be
        used together, or several processes.
    """
    config = members[0].config
    if jax.process_count() > 1:
        raise ValueError(
            f"models are made and written by one process, not by {jax.process_count()}; "
            "`train_siit` and `train_together` run in several"
        )
    parts_of = pairs_per_part(config.n_pairs, config.held_out)
    device_mesh(len(members), config.batch_size)
    if isinstance(task, str):
        task = get_task(task, min_length=config.min_length, same_size=config.same_size)
    alignment, split = align(task, config.d_model), task.split(config.held_out)

    def problem(part: Part, *, trained: bool, judged: bool) -> SiitProblem:
        pairs = _pairs(task, split, part, config)
        found = problem_of_pairs(task, alignment, pairs)
        key_sets, key_checks = jax.random.split(jax.random.fold_in(jax.random.key(_SEED), 1))
        if config.patches == "edges" and trained:
            sets = draw_edge_sets(task, alignment, pairs, key_sets, n_rows=config.edge_rows)
            found = found._replace(edges=sets)
        if config.patches == "edges" and judged:
            some = Pairs(*(part[: config.checked_pairs] for part in pairs))
            checks = usual_checks(task, alignment, some, key_checks, n_random=config.checked_sets)
            found = found._replace(checks=checks)
        return found

    if split.divided:
        parts = [
            problem(part, trained=part == "train", judged=part == "validation") for part in parts_of
        ]
    else:
        parts = [problem("train", trained=True, judged=True)] * len(parts_of)
    return Prepared(task, alignment, split, *parts)


def problem_for_tests(task: Task, alignment: Alignment, config: SiitConfig) -> SiitProblem:
    """The pairs that the scores in a card are of, without those that a model is trained on.

    Args:
      task: the algorithm.
      alignment: where it lives in the model.
      config: settings of training, which say how sequences were divided.

    Raises:
      ValueError: too few pairs to hold some out.
    """
    pairs = _pairs(task, task.split(config.held_out), "test", config)
    return problem_of_pairs(task, alignment, pairs)


def _pairs(task: Task, split: Split, part: Part, config: SiitConfig) -> Pairs:
    """Pairs of a part; all parts are one where the sequences are too few to be divided."""
    n_pairs = pairs_per_part(config.n_pairs, config.held_out)[part]
    if not split.divided:
        part, n_pairs = "train", config.n_pairs
    return task.pairs(split, part, n_pairs, jax.random.key(_SEED))
