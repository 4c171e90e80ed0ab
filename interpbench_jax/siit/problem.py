"""A training problem as arrays: inputs, targets under every interchange, aligned nodes."""

from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Num

from interpbench_jax.alignment import Alignment
from interpbench_jax.siit.edge_checks import EdgeChecks
from interpbench_jax.siit.edge_sets import EdgeSets
from interpbench_jax.tasks.splits import FEWEST_SEQUENCES, HELD_OUT, Part, places
from interpbench_jax.tasks.task import Behaviour, Pairs, Task, answer_in_chunks


class SiitProblem(NamedTuple):
    """All data of a task that training uses.

    Integer targets are labels (cross entropy, argmax); float targets are values (mean squared
    error).

    Attributes:
      base: token ids of the inputs to run on.
      source: token ids of the inputs from which nodes take their values.
      base_target: the algorithm's answers on the base.
      source_target: its answers on the source.
      variable_targets: its answers on the base when one variable has its value on the source.
      variable_nodes: 1 at the node(s) of the trained model that hold a variable.
      free_nodes: one row per node outside the circuit, 1 at that node.
      position_weights: weight of every position in losses and accuracies.
      behaviour: target outputs of the unpatched model, if the task requires more than the
        algorithm's answers; see `Behaviour`.
      edges: rows for training by edge patches; required if `SiitConfig.patches` is `edges`.
      checks: sets of edges on which validation evaluates the model, if any.
    """

    base: Int[Array, "pair pos"]
    source: Int[Array, "pair pos"]
    base_target: Num[Array, "pair pos"]
    source_target: Num[Array, "pair pos"]
    variable_targets: Num[Array, "variable pair pos"]
    variable_nodes: Float[Array, "variable writer"]
    free_nodes: Float[Array, "free writer"]
    position_weights: Float[Array, "pair pos"]
    behaviour: Behaviour | None = None
    edges: EdgeSets | None = None
    checks: EdgeChecks | None = None

    @property
    def categorical(self) -> bool:
        """Whether targets are labels (integers) rather than values (floats)."""
        return jnp.issubdtype(self.base_target.dtype, jnp.integer)

    @property
    def n_pairs(self) -> int:
        """Number of (base, source) pairs."""
        return self.base.shape[0]

    def take(self, pairs: slice | Int[np.ndarray, " pair"]) -> "SiitProblem":
        """The same problem on some of the pairs; `edges` and `checks` keep their own pairs."""
        return self._replace(
            base=self.base[pairs],
            source=self.source[pairs],
            base_target=self.base_target[pairs],
            source_target=self.source_target[pairs],
            variable_targets=self.variable_targets[:, pairs],
            position_weights=self.position_weights[pairs],
            behaviour=jax.tree.map(lambda array: array[pairs], self.behaviour),
        )

    def split(self, held_out: float) -> tuple["SiitProblem", "SiitProblem"]:
        """Splits the pairs into training and validation pairs that share no sequence.

        A hash of its tokens assigns every sequence to one side; pairs across the two sides are
        dropped. If fewer than `FEWEST_SEQUENCES` sequences would be held out, or fewer pairs than
        these can make, nothing is held out: both results are the whole problem.

        Args:
          held_out: share of the sequences for validation.

        Raises:
          ValueError: the problem has edge patches, whose pairs cannot be split.
        """
        if self.edges is not None or self.checks is not None:
            raise ValueError("a problem with patches of edges needs a separate validation problem")
        sides = [places(np.asarray(tokens)) < held_out for tokens in (self.base, self.source)]
        kept, trained = np.all(sides, 0), ~np.any(sides, 0)
        sequences = np.concatenate([self.base[kept], self.source[kept]])
        enough = (
            kept.sum() >= FEWEST_SEQUENCES**2
            and len(np.unique(sequences, axis=0)) >= FEWEST_SEQUENCES
            and trained.any()
        )
        if not enough:
            return self, self
        return self.take(np.flatnonzero(trained)), self.take(np.flatnonzero(kept))


def make_problem(
    task: Task,
    alignment: Alignment,
    key: Array,
    *,
    n_pairs: int = 100_000,
    part: Part | None = None,
    held_out: float = HELD_OUT,
) -> SiitProblem:
    """Draws distinct (base, source) pairs of a task and computes all targets.

    If the task has few sequences (case 3 has 256), every pair is used once, in random order.

    Args:
      task: the task with the algorithm.
      alignment: its alignment with the model to be trained.
      key: a JAX random key.
      n_pairs: the largest number of pairs.
      part: the part from which sequences are drawn, so that problems of two parts share none; all
        sequences by default. A task too small to divide has a single part; see `Split`.
      held_out: share of the sequences that are not in `train`.

    Raises:
      ValueError: `n_pairs` is smaller than 1.
    """
    if n_pairs < 1:
        raise ValueError(f"n_pairs must be at least 1, got {n_pairs}")
    split = task.split(held_out)
    if part is None:
        split, part = replace(split, divided=False), "train"
    return problem_of_pairs(task, alignment, task.pairs(split, part, n_pairs, key))


def problem_of_pairs(task: Task, alignment: Alignment, pairs: Pairs) -> SiitProblem:
    """Computes all targets of a task on given pairs.

    Args:
      task: the task with the algorithm.
      alignment: its alignment with the model to be trained.
      pairs: pairs as token ids.
    """
    answers = answer_in_chunks(
        task.answers, pairs.base, pairs.source, variable_masks(alignment)[:, :, None]
    )
    return problem_of_answers(alignment, pairs, answers, task.behaviour(pairs))


def problem_of_answers(
    alignment: Alignment,
    pairs: Pairs,
    answers: Num[Array | np.ndarray, "intervention pair pos"],
    behaviour: Behaviour | None = None,
) -> SiitProblem:
    """A problem whose targets are known.

    Args:
      alignment: the algorithm's alignment with the model to be trained.
      pairs: pairs as token ids.
      answers: the algorithm's answers on the pairs under each of `variable_masks`.
      behaviour: target outputs of the unpatched model, if they are more than the answers.
    """
    graph = alignment.graph
    return SiitProblem(
        base=jnp.asarray(pairs.base),
        source=jnp.asarray(pairs.source),
        base_target=jnp.asarray(answers[0]),
        source_target=jnp.asarray(answers[-1]),
        variable_targets=jnp.asarray(answers[1:-1]),
        variable_nodes=jnp.asarray(graph.one_hot(alignment.nodes)),
        free_nodes=jnp.asarray(graph.one_hot(alignment.free_nodes)),
        position_weights=jnp.asarray(pairs.position_weights),
        behaviour=jax.tree.map(jnp.asarray, behaviour),
    )


def variable_masks(alignment: Alignment) -> Float[np.ndarray, "intervention writer"]:
    """Masks of the algorithm's writers: none, each variable alone, and all writers."""
    each = alignment.algorithm.graph.one_hot(alignment.variables)
    masks = np.pad(each, ((1, 1), (0, 0)))
    masks[-1] = 1
    return masks
