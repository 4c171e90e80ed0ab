"""Evaluation of a model under many sets of patched edges against the correct answers.

Pairs come in blocks that fit into a CPU's cache. One block with up to `MOST_SETS` sets is one call
of a compiled function, whatever the number of sets and pairs. All evaluations of a model therefore
share two compiled functions, one for the correct answers and one for the model's.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Num

from interpbench_jax.alignment import Alignment
from interpbench_jax.alignment.alignment import group_masks, group_union
from interpbench_jax.alignment.edge_levels import EdgeLevel
from interpbench_jax.model import Params, TransformerConfig
from interpbench_jax.model.chunks import map_chunks, runs_at_once
from interpbench_jax.model.network import Network, as_network
from interpbench_jax.siit.set_answers import answers_under
from interpbench_jax.siit.validation import weight_right
from interpbench_jax.tasks import Pairs, Task
from interpbench_jax.tasks.task import Answers, has_answer

ROWS = 128
"""Number of pairs in a block."""
MOST_SETS = 64
"""Number of sets of edges in a call."""


class Blocks(NamedTuple):
    """Pairs of inputs in blocks of equal size.

    Attributes:
      base: token ids of the inputs to run on.
      source: token ids of the inputs from which patched edges take their values.
      position_weights: weight of each position; 0 in the rows that pad the last block.
    """

    base: Int[np.ndarray, "block row pos"]
    source: Int[np.ndarray, "block row pos"]
    position_weights: Float[np.ndarray, "block row pos"]

    @classmethod
    def of(cls, pairs: Pairs) -> "Blocks":
        """Cuts pairs into blocks."""
        missing = -len(pairs.base) % ROWS
        padding = ((0, missing), (0, 0))
        tokens = [np.pad(part, padding, mode="edge") for part in (pairs.base, pairs.source)]
        weights = np.pad(pairs.position_weights.astype(np.float32), padding)
        return cls(*(part.reshape(-1, ROWS, part.shape[1]) for part in (*tokens, weights)))


class Judged(NamedTuple):
    """Results of some sets.

    Attributes:
      right: weight of the positions at which the model is right.
      total: weight of the positions that have an answer.
      blocks: number of blocks of pairs on which each set was evaluated.
      unanswered: share of the (set, pair) rows in which some position has no answer.
    """

    right: Float[np.ndarray, " set"]
    total: Float[np.ndarray, " set"]
    blocks: int
    unanswered: float

    @property
    def agreement(self) -> Float[np.ndarray, " set"]:
        """Share of positions with the right answer; NaN where no position has an answer."""
        return np.where(self.total > 0, self.right / np.maximum(self.total, 1e-9), np.nan)


class EdgeJudge(NamedTuple):
    """A model together with the source of correct answers.

    Attributes:
      params: weights.
      network: a transformer's shape, or another network.
      answers: computes the correct answers under patches of the algorithm's edges.
      groups: masks of the algorithm's edges, one for each group of the circuit's edges.
    """

    params: Params
    network: TransformerConfig | Network
    answers: Answers
    groups: Bool[np.ndarray, "group _ _"]

    @classmethod
    def of(
        cls,
        params: Params,
        network: TransformerConfig | Network,
        task: Task,
        alignment: Alignment,
    ) -> "EdgeJudge":
        """Judges a model by its task's algorithm.

        Args:
          params: weights.
          network: a transformer's shape, or another network.
          task: the task with the algorithm.
          alignment: its alignment with the network.
        """
        return cls(params, network, task.defined_answers, group_masks(alignment)[0])

    def judge(
        self,
        level: EdgeLevel,
        blocks: Blocks,
        sets: Bool[np.ndarray, "set unit"],
        *,
        patched_at: Bool[np.ndarray, "set pos"] | None = None,
        n_runs: int | None = None,
    ) -> Judged:
        """Patches each set of units, and compares with the algorithm under the same patch.

        Args:
          level: defines the units.
          blocks: pairs of inputs.
          sets: the units that are patched together.
          patched_at: the positions at which each set is patched; all by default.
          n_runs: approximate number of runs in total: if the number of sets times pairs is larger,
            each set is evaluated on only some blocks, in turn, but at least one.
        """
        n, n_blocks = len(sets), len(blocks.base)
        each = n_blocks
        if n_runs is not None:
            each = min(max(n_runs // (max(n, 1) * ROWS), 1), n_blocks)
        found = []
        for place in range(n_blocks):
            mine = np.flatnonzero((place - np.arange(n) * each) % n_blocks < each)
            block = Blocks(*(part[place] for part in blocks))
            for some in np.split(mine, range(MOST_SETS, len(mine), MOST_SETS)):
                if len(some):
                    here = None if patched_at is None else patched_at[some]
                    found.append((some, *self._judge(level, block, sets[some], here)))
        right, total = np.zeros(n), np.zeros(n)
        rows = np.zeros(2)
        for some, counts, unanswered in found:
            counted = np.asarray(counts, np.float64)[:, : len(some)]
            right[some] += counted[0]
            total[some] += counted[1]
            rows += unanswered
        return Judged(right, total, each, float(rows[0] / max(rows[1], 1)))

    def answers_to(
        self,
        block: Blocks,
        groups: Bool[np.ndarray, "set group"],
        patched_at: Bool[np.ndarray, "set pos"] | None = None,
    ) -> Num[np.ndarray, "set row pos"]:
        """The correct answers under patches of groups of the circuit's edges.

        Args:
          block: pairs of one block, without the leading axis.
          groups: the groups that are patched together; at most `MOST_SETS` sets.
          patched_at: the positions at which each set is patched; all by default. The answers are
            then `AnswersAtPositions`.
        """
        masks = _filled(group_union(groups, self.groups))
        here = _filled_positions(patched_at)
        answers = _answers_under(self.answers, block.base, block.source, masks, here, len(groups))
        return np.asarray(answers)[: len(groups)]

    def right_and_total(
        self,
        level: EdgeLevel,
        block: Blocks,
        sets: Bool[np.ndarray, "set unit"],
        targets: Num[np.ndarray, "set row pos"],
        weights: Float[np.ndarray, "set row pos"],
        patched_at: Bool[np.ndarray, "set pos"] | None = None,
    ) -> Float[Array, "2 _"]:
        """Weight of the positions where the model gives the target, and of all, for each set.

        Args:
          level: defines the units.
          block: pairs of one block, without the leading axis.
          sets: the units that are patched together; at most `MOST_SETS` sets.
          targets: the correct answers, per set.
          weights: weight of each position, per set.
          patched_at: the positions at which each set is patched; all by default.
        """
        return _run(
            self.params,
            self.network,
            block.base,
            block.source,
            _filled(level.masks(sets).astype(np.float32)),
            _filled(targets),
            _filled(weights),
            _filled_positions(patched_at),
            len(sets),
        )

    def _judge(
        self,
        level: EdgeLevel,
        block: Blocks,
        sets: Bool[np.ndarray, "set unit"],
        patched_at: Bool[np.ndarray, "set pos"] | None,
    ) -> tuple[Float[Array, "2 _"] | Float[np.ndarray, "2 _"], Float[np.ndarray, " 2"]]:
        # In NumPy: JAX would recompile each of these small steps for every number of sets.
        groups = level.groups_of(sets)
        cases = groups if patched_at is None else np.concatenate([groups, patched_at], 1)
        _, first, which = np.unique(cases, axis=0, return_index=True, return_inverse=True)
        here = None if patched_at is None else patched_at[first]
        targets = self.answers_to(block, groups[first], here)[which.reshape(-1)]
        answered = has_answer(targets)
        weights = (block.position_weights[None] * answered).astype(np.float32)
        counts = np.broadcast_to(block.position_weights[None] > 0, targets.shape)
        rows = np.array([(counts & ~answered).any(-1).sum(), counts.any(-1).sum()], float)
        if not weights.any():  # nothing to compare with: the model need not run
            return np.zeros((2, len(sets))), rows
        return self.right_and_total(level, block, sets, targets, weights, patched_at), rows


def _filled(sets: Num[np.ndarray, "set _ _"]) -> Num[np.ndarray, "_ _ _"]:
    """Pads the sets with zeros, so that all calls have the same shape."""
    return np.pad(sets, ((0, MOST_SETS - len(sets)), (0, 0), (0, 0)))


def _filled_positions(
    patched_at: Bool[np.ndarray, "set pos"] | None,
) -> Float[np.ndarray, "_ pos"] | None:
    if patched_at is None:
        return None
    return np.pad(patched_at.astype(np.float32), ((0, MOST_SETS - len(patched_at)), (0, 0)))


@jax.jit
def _answers_under(
    answers: Any,
    base: Int[Array, "row pos"],
    source: Int[Array, "row pos"],
    masks: Float[Array, "set _ _"],
    patched_at: Float[Array, "set pos"] | None,
    n: Int[Array, ""] | int,
) -> Num[Array, "set row pos"]:
    """The answers under the first `n` masks."""
    return _first(
        lambda case: answers_under(answers, base, source, *case), (masks, patched_at), n, chunk=1
    )


@functools.partial(jax.jit, static_argnames="network")
def _run(
    params: Params,
    network: TransformerConfig | Network,
    base: Int[Array, "row pos"],
    source: Int[Array, "row pos"],
    masks: Float[Array, "set writer reader"],
    targets: Num[Array, "set row pos"],
    weights: Float[Array, "set row pos"],
    patched_at: Float[Array, "set pos"] | None,
    n: Int[Array, ""] | int,
) -> Float[Array, "2 set"]:
    """Weights of right positions and of all positions, under the first `n` masks."""
    unpatched, written = as_network(network).run(params, source)

    def under(case: tuple[Array, Array, Array, Array | None]) -> Float[Array, " 2"]:
        mask, target, weight, patched_at = case
        right, _ = weight_right(
            params, as_network(network), base, written, mask, target, weight, patched_at
        )
        return jnp.stack([right, weight.sum()])

    chunk = runs_at_once(unpatched, written)
    return _first(under, (masks, targets, weights, patched_at), n, chunk=chunk).T


def _first(
    function: Callable[[Any], Array], each: Any, n: Int[Array, ""] | int, *, chunk: int
) -> Array:
    """`map_chunks` over the chunks with the first `n` entries; zeros in all further chunks."""
    one = jax.eval_shape(function, jax.tree.map(lambda x: x[0], each))
    length = len(jax.tree.leaves(each)[0])
    chunk = min(chunk, length)

    def step(number: Array, out: Array) -> Array:
        # The last chunk is moved back to fit, and repeats some entries of the one before.
        start = jnp.minimum(number * chunk, length - chunk)
        some = jax.tree.map(lambda x: jax.lax.dynamic_slice_in_dim(x, start, chunk), each)
        found = map_chunks(function, some, chunk=chunk)
        return jax.lax.dynamic_update_slice_in_dim(out, found, start, 0)

    n_chunks = -(-n // chunk)
    return jax.lax.fori_loop(0, n_chunks, step, jnp.zeros((length, *one.shape), one.dtype))
