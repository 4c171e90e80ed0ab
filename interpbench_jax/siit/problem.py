"""A training problem as arrays: inputs, targets under every interchange, aligned nodes."""

from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Num

from interpbench_jax.alignment import Alignment
from interpbench_jax.siit.edge_sets import EdgeChecks, EdgeSets
from interpbench_jax.tasks.splits import FEWEST_SEQUENCES, HELD_OUT, Part, places
from interpbench_jax.tasks.task import Behaviour, Pairs, Task, answer_in_chunks


class SiitProblem(NamedTuple):
    """Everything the trainer needs to know of a task; it knows nothing else.

    Targets that are integers are labels (cross entropy, argmax); floats are values to be met
    (mean squared error).

    Attributes:
      base: token ids of the inputs to run on.
      source: token ids of the inputs from which nodes take their values.
      base_target: what the algorithm says on the base.
      source_target: what it says on the source.
      variable_targets: what it says on the base when one variable has its value on the source.
      variable_nodes: 1 at the node(s) of the trained model that hold a variable.
      free_nodes: one row per node outside the circuit, 1 at that node.
      positions: weight of every position in losses and accuracies.
      behaviour: what the unpatched model is trained to say, where that is more than the algorithm
        answers; see `Behaviour`.
      edges: rows to train on by patches of edges; needed where `SiitConfig.patches` is `edges`.
      checks: sets of edges by which training is judged, if it is.
    """

    base: Int[Array, "pair pos"]
    source: Int[Array, "pair pos"]
    base_target: Num[Array, "pair pos"]
    source_target: Num[Array, "pair pos"]
    variable_targets: Num[Array, "variable pair pos"]
    variable_nodes: Float[Array, "variable writer"]
    free_nodes: Float[Array, "free writer"]
    positions: Float[Array, "pair pos"]
    behaviour: Behaviour | None = None
    edges: EdgeSets | None = None
    checks: EdgeChecks | None = None

    @property
    def categorical(self) -> bool:
        """Whether targets are labels rather than values; the task says so by their type."""
        return jnp.issubdtype(self.base_target.dtype, jnp.integer)

    @property
    def n_pairs(self) -> int:
        """How many (base, source) pairs there are."""
        return self.base.shape[0]

    def take(self, pairs: slice | Int[np.ndarray, " pair"]) -> "SiitProblem":
        """The same problem on some of the pairs; `edges` and `checks` have pairs of their own."""
        return self._replace(
            base=self.base[pairs],
            source=self.source[pairs],
            base_target=self.base_target[pairs],
            source_target=self.source_target[pairs],
            variable_targets=self.variable_targets[:, pairs],
            positions=self.positions[pairs],
            behaviour=jax.tree.map(lambda array: array[pairs], self.behaviour),
        )

    def split(self, held_out: float) -> tuple["SiitProblem", "SiitProblem"]:
        """The pairs to train on, and those to validate on: the two share no sequence.

        Every sequence is on one side, by a hash of its tokens; pairs with one sequence on either
        side are on none. Where fewer than `FEWEST_SEQUENCES` sequences, or fewer pairs than these
        can make, would be held out, nothing is: both are the whole problem.

        Args:
          held_out: share of the sequences.

        Raises:
          ValueError: there are patches of edges, whose pairs are not divided.
        """
        if self.edges is not None or self.checks is not None:
            raise ValueError(
                "a problem with patches of edges needs a validation problem of its own"
            )
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
    """Draws distinct (base, source) pairs of a task and asks its algorithm for all targets.

    Where the task has few sequences (case 3 has 256) every pair is used once, in random order.

    Args:
      task: the algorithm.
      alignment: where it lives in the model to be trained.
      key: a JAX random key.
      n_pairs: at most so many pairs.
      part: draws sequences of this part only, so that problems of two parts share none; of all if
        none is given. A task too small to divide has one part; see `Split`.
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
    """Asks a task's algorithm for all targets on given pairs.

    Args:
      task: the algorithm.
      alignment: where it lives in the model to be trained.
      pairs: as token ids.
    """
    answers = answer_in_chunks(
        task.answers, pairs.base, pairs.source, variable_masks(alignment)[:, :, None]
    )
    graph = alignment.graph
    return SiitProblem(
        base=jnp.asarray(pairs.base),
        source=jnp.asarray(pairs.source),
        base_target=answers[0],
        source_target=answers[-1],
        variable_targets=answers[1:-1],
        variable_nodes=jnp.asarray(graph.one_hot(alignment.nodes)),
        free_nodes=jnp.asarray(graph.one_hot(alignment.free_nodes)),
        positions=jnp.asarray(pairs.positions),
        behaviour=jax.tree.map(jnp.asarray, task.behaviour(pairs)),
    )


def variable_masks(alignment: Alignment) -> Float[np.ndarray, "intervention writer"]:
    """Which writers of the algorithm are patched: none, each variable alone, all of them."""
    each = alignment.algorithm.graph.one_hot(alignment.variables)
    masks = np.pad(each, ((1, 1), (0, 0)))
    masks[-1] = 1
    return masks
