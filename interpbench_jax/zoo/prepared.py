"""The preparation of training: everything that can fail because of its input."""

from collections.abc import Sequence
from typing import NamedTuple

import jax

from interpbench_jax.alignment import Alignment, align
from interpbench_jax.compiler import get_task
from interpbench_jax.model import TransformerConfig
from interpbench_jax.model.indices import check_indices
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
"""The seed of the pairs, independent of the models' seeds."""


class Prepared(NamedTuple):
    """A task that is ready for training; see `prepare`.

    Attributes:
      task: the task with the algorithm.
      alignment: its alignment with the model to be trained.
      split: the split of the sequences.
      training: pairs to train on.
      validation: pairs that decide when to stop, and which weights and which member are best.
      test: pairs that are used only for the scores in the card.
    """

    task: Task
    alignment: Alignment[TransformerConfig]
    split: Split
    training: SiitProblem
    validation: SiitProblem
    test: SiitProblem

    @property
    def name(self) -> str:
        """The name of the task."""
        return self.task.name


def prepare(task: Task | str, members: Sequence[Member]) -> Prepared:
    """Splits a task's sequences, and draws pairs of each part.

    All errors in the input of a training run are detected here.

    Args:
      task: the task or its name.
      members: the members to be trained.

    Raises:
      ValueError: there is no such task, there are too few pairs to hold some out, edges are to be
        patched at positions but the task's algorithm does not say where its values are, the devices
        cannot be used together, or there are several processes.
    """
    config = members[0].config
    if jax.process_count() > 1:
        raise ValueError(
            f"models are made by a single process, got {jax.process_count()} processes; "
            "`train_siit` and `train_together` run in several"
        )
    parts_of = pairs_per_part(config.n_pairs, config.held_out)
    device_mesh(len(members), config.batch_size)
    if isinstance(task, str):
        task = get_task(task, min_length=config.min_length, same_size=config.same_size)
    alignment, split = align(task, config.d_model), task.split(config.held_out)

    def problem(part: Part, *, trained: bool, judged: bool) -> SiitProblem:
        pairs = _pairs(task, split, part, config)
        by_edges_only = config.patches == "edges" and trained and not judged
        of_nodes = Pairs(*(part[:1] for part in pairs)) if by_edges_only else pairs
        found = problem_of_pairs(task, alignment, of_nodes)  # answers for every variable take long
        _check_answers(found, alignment.network)
        key_sets, key_checks = jax.random.split(jax.random.fold_in(jax.random.key(_SEED), 1))
        if config.patches == "edges" and trained:
            sets = draw_edge_sets(
                task,
                alignment,
                pairs,
                key_sets,
                n_rows=config.edge_rows,
                outside_rows=config.outside_rows,
                single_rows=config.single_rows,
                position_rows=config.position_rows,
            )
            found = found._replace(edges=sets)
        if config.patches == "edges" and judged:
            checks = usual_checks(
                task,
                alignment,
                pairs,
                key_checks,
                n_random=config.checked_sets,
                n_pairs=config.checked_pairs,
            )
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
    """The test pairs, from which the scores in a card are computed.

    Args:
      task: the task with the algorithm.
      alignment: its alignment with the model.
      config: settings of training, which determine the split.

    Raises:
      ValueError: too few pairs to hold some out.
    """
    pairs = _pairs(task, task.split(config.held_out), "test", config)
    return problem_of_pairs(task, alignment, pairs)


def _check_answers(problem: SiitProblem, network: TransformerConfig) -> None:
    """Checks that the network has an output for every answer.

    Raises:
      ValueError: a label is not among the outputs, or values are to be learnt by several outputs.
    """
    if problem.categorical:
        targets = [problem.base_target, problem.variable_targets]
        of_behaviour = [] if problem.behaviour is None else [problem.behaviour.target]
        for labels in (*targets, *of_behaviour):
            check_indices("the algorithm has label", labels, network.d_vocab_out)
    elif network.d_vocab_out != 1:
        raise ValueError(
            f"the algorithm's answers are values, for which a network has one output; d_vocab_out "
            f"is {network.d_vocab_out}"
        )


def _pairs(task: Task, split: Split, part: Part, config: SiitConfig) -> Pairs:
    """Pairs of a part; if there are too few sequences to split, all parts are the same."""
    n_pairs = pairs_per_part(config.n_pairs, config.held_out)[part]
    if not split.divided:
        part, n_pairs = "train", config.n_pairs
    return task.pairs(split, part, n_pairs, jax.random.key(_SEED))
