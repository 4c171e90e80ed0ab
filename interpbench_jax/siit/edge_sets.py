"""Sets of edges that are patched together, and the algorithm's answers under them.

A set has two parts. Inside are groups of the circuit's edges: patching them changes the algorithm's
answer. Outside are edges without a counterpart in the algorithm: its answer stays the same.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Num

from interpbench_jax.alignment import Alignment
from interpbench_jax.alignment.alignment import group_masks, group_union
from interpbench_jax.alignment.edge_levels import draw_positions, draw_sets, qkv_level
from interpbench_jax.alignment.subsets import every_subset
from interpbench_jax.siit.edge_checks import EdgeChecks
from interpbench_jax.siit.set_answers import answer_sets
from interpbench_jax.tasks.task import Behaviour, Pairs, Task, answer_in_chunks, has_answer

N_SETS = 1_024
"""The most sets of groups that are used; up to ten groups, these are all sets."""

# Sets with an answer for a smaller share of the pairs get other pairs, from so many times as many.
_RARE, _TRIES = 0.5, 16


class EdgeSets(NamedTuple):
    """Pairs of inputs to train on, each with a set of the circuit's edges to patch.

    The rows of a set are adjacent. A set that is drawn more often has more rows, so that rows are
    used about equally often.

    Attributes:
      masks: masks of the network, 1 at the circuit's edges that are patched. The first set is
        empty.
      single: probability of each set when a single group of edges is drawn.
      several: probability of each set when any set is drawn.
      first: index of the first row of each set.
      n_rows: number of rows of each set.
      base: token ids of the inputs to run on.
      source: token ids of the inputs from which patched edges take their values.
      target: the algorithm's answers on the base under the row's set.
      position_weights: weight of each position; 0 where the algorithm has no answer.
      source_target: target outputs of the unpatched model on the source.
      source_position_weights: weight of each position in `source_target`.
      outside: 1 at edges of the network without a counterpart in the algorithm.
      patched_at: for each row, 1 at the positions where edges are patched; None means everywhere.
    """

    masks: Float[Array, "set writer reader"]
    single: Float[Array, " set"]
    several: Float[Array, " set"]
    first: Int[Array, " set"]
    n_rows: Int[Array, " set"]
    base: Int[Array, "row pos"]
    source: Int[Array, "row pos"]
    target: Num[Array, "row pos"]
    position_weights: Float[Array, "row pos"]
    source_target: Num[Array, "row pos"]
    source_position_weights: Float[Array, "row pos"]
    outside: Float[Array, "writer reader"]
    patched_at: Float[Array, "row pos"] | None = None


def sets_of_groups(
    alignment: Alignment, n_sets: int, rng: np.random.Generator
) -> Bool[np.ndarray, "set group"]:
    """Sets of groups of the circuit's edges to patch together.

    First the empty set, then each group alone. If there are at most `n_sets` sets in total, all
    others follow; otherwise the set of all groups and random sets, drawn as `draw_sets` does.

    Args:
      alignment: gives the groups.
      n_sets: the largest number of sets; the empty set and single groups are never dropped.
      rng: random generator.
    """
    n = len(alignment.groups)
    first = np.concatenate([np.zeros((1, n), bool), np.eye(n, dtype=bool)])
    if 2**n <= n_sets:
        every = every_subset(n)
        return np.concatenate([first, every[every.sum(1) > 1]])
    level = qkv_level(alignment)
    drawn = draw_sets(level, rng, max(n_sets - len(first) - 1, 0))[:, level.inside]
    return np.concatenate([first, np.ones((1, n), bool), drawn])


def draw_edge_sets(
    task: Task,
    alignment: Alignment,
    pairs: Pairs,
    key: Array,
    *,
    n_rows: int,
    outside_rows: float,
    single_rows: float,
    position_rows: float = 0.0,
    n_sets: int = N_SETS,
) -> EdgeSets:
    """Draws sets of the circuit's edges and pairs for each, and computes the targets.

    Args:
      task: the task with the algorithm.
      alignment: its alignment with the network to be trained.
      pairs: pairs to draw from, with replacement.
      key: a JAX random key.
      n_rows: approximate number of rows of all sets together.
      outside_rows: share of the rows of a batch that are of the empty set.
      single_rows: share of the rows of a batch that are of single groups.
      position_rows: share of the rows whose edges are patched at random positions only.
      n_sets: the largest number of sets.

    Raises:
      ValueError: there are such rows, but the algorithm does not say where its values are.
    """
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    groups = sets_of_groups(alignment, n_sets, rng)
    own, theirs = group_masks(alignment)
    sizes, chunk = groups.sum(1), max(n_rows // (2 * len(groups)), 1)
    kinds = np.stack([sizes == 0, sizes == 1, sizes > 0]).astype(np.float64)
    shares = np.array([outside_rows, single_rows, 1 - outside_rows - single_rows])
    chances = shares @ (kinds / np.maximum(kinds.sum(1, keepdims=True), 1))
    chunks = np.maximum(np.rint(chances * n_rows / chunk), 1).astype(int)
    set_of_chunk = np.repeat(np.arange(len(groups)), chunks)
    own_masks = group_union(groups, own)

    def draw(sets: Int[np.ndarray, " chunk"]) -> _Rows:
        shape = (len(sets), chunk)
        chosen = rng.integers(0, len(pairs.base), shape)
        patched_at = _draw_patched_at(rng, (*shape, pairs.base.shape[1]), position_rows)
        target = answer_sets(
            task.defined_answers,
            pairs.base[chosen],
            pairs.source[chosen],
            own_masks[sets],
            patched_at if position_rows else None,
        )
        weights = pairs.position_weights[chosen] * has_answer(np.asarray(target))
        return _Rows(chosen, np.asarray(target), np.asarray(weights), patched_at)

    rows = _with_rare_answers(draw(set_of_chunk), set_of_chunk, draw, rng)
    counts = np.zeros(len(groups), np.float32)
    np.maximum.at(counts, set_of_chunk, rows.position_weights.any((1, 2)).astype(np.float32))
    sources = Pairs(pairs.source, pairs.source, task.position_weights_of(pairs.source))
    behaviour = task.behaviour(sources)
    if behaviour is None:
        nothing = np.zeros((1, *own.shape[1:]), np.float32)
        answers = answer_in_chunks(task.answers, pairs.source, pairs.source, nothing)[0]
        behaviour = Behaviour(answers, sources.position_weights)
    pair = rows.pair.reshape(-1)
    target, position_weights, patched_at = (
        part.reshape(len(pair), -1)
        for part in (rows.target, rows.position_weights, rows.patched_at)
    )
    return EdgeSets(
        masks=jnp.asarray(group_union(groups, theirs)),
        single=jnp.asarray(counts * (sizes == 1)),
        several=jnp.asarray(counts * (sizes > 0)),
        first=jnp.asarray(chunk * (np.cumsum(chunks) - chunks)),
        n_rows=jnp.asarray(chunk * chunks),
        base=jnp.asarray(pairs.base[pair]),
        source=jnp.asarray(pairs.source[pair]),
        target=jnp.where(has_answer(target), target, 0),
        position_weights=jnp.asarray(position_weights),
        source_target=jnp.asarray(np.asarray(behaviour.target)[pair]),
        source_position_weights=jnp.asarray(np.asarray(behaviour.position_weights)[pair]),
        outside=jnp.asarray(alignment.outside, jnp.float32),
        patched_at=jnp.asarray(patched_at, jnp.float32) if position_rows else None,
    )


def _draw_patched_at(
    rng: np.random.Generator, shape: tuple[int, int, int], position_rows: float
) -> Float[np.ndarray, "chunk row pos"]:
    """For each row, 1 at the positions where edges are patched: random ones in a share of rows."""
    everywhere = np.ones(shape, np.float32)
    if not position_rows:
        return everywhere
    n_chunks, n_rows, n_positions = shape
    some = draw_positions(rng, n_chunks * n_rows, n_positions).reshape(shape)
    return np.where(rng.random((n_chunks, n_rows, 1)) < position_rows, some, everywhere)


class _Rows(NamedTuple):
    """Rows with the algorithm's answers, in chunks of one set each.

    Attributes:
      pair: index of the row's pair.
      target: the answers; -1 or NaN where there is none.
      position_weights: weight of each position; 0 where there is no answer.
      patched_at: 1 at the positions where edges are patched.
    """

    pair: Int[np.ndarray, "chunk row"]
    target: Num[np.ndarray, "chunk row pos"]
    position_weights: Float[np.ndarray, "chunk row pos"]
    patched_at: Float[np.ndarray, "chunk row pos"]


def _with_rare_answers(
    rows: _Rows,
    set_of_chunk: Int[np.ndarray, " chunk"],
    draw: Callable[[Int[np.ndarray, " chunk"]], _Rows],
    rng: np.random.Generator,
) -> _Rows:
    """Replaces rows of sets under which the algorithm seldom has an answer.

    Under some sets it has one for a pair in a hundred: most of their rows would teach nothing. Of
    `_TRIES` times as many new rows, those with an answer take the place of all rows of the set,
    each about equally often. Rows patched everywhere and rows patched at some positions, which have
    answers more often, are replaced separately. Where no new row has an answer, the rows stay.

    Args:
      rows: rows to start from.
      set_of_chunk: the set of each chunk of rows.
      draw: draws a chunk of new rows for each of the given sets.
      rng: random generator.
    """

    def kinds(rows: _Rows, sets: Int[np.ndarray, " chunk"]) -> Int[np.ndarray, "chunk row"]:
        return 2 * sets[:, None] + rows.patched_at.all(2)

    kind, answered = kinds(rows, set_of_chunk), (rows.position_weights > 0).any(2)
    share = np.bincount(kind.ravel(), answered.ravel()) / np.maximum(np.bincount(kind.ravel()), 1)
    rare = share[kind] < _RARE
    if not rare.any():
        return rows
    tried_sets = np.repeat(set_of_chunk[rare.any(1)], _TRIES)
    tried = draw(tried_sets)
    tried_kind, tried_answered = kinds(tried, tried_sets), (tried.position_weights > 0).any(2)
    replaced = _Rows(*(part.copy() for part in rows))
    for one in np.unique(kind[rare]):
        chunk, row = np.nonzero(tried_answered & (tried_kind == one))
        if not len(chunk):
            continue
        places = np.nonzero(kind == one)
        chosen = np.resize(rng.permutation(len(chunk)), len(places[0]))
        for old, new in zip(replaced, tried, strict=True):
            old[places] = new[chunk[chosen], row[chosen]]
    return replaced


def focus_on_wrong(
    sets: EdgeSets,
    checks: EdgeChecks,
    agreement: Float[Array, " check"],
    share: Float[Array, ""] | float,
) -> EdgeSets:
    """Draws single groups of edges more often where the model was wrong under their patches.

    Args:
      sets: to draw from; set 1 is the first group alone, and so on.
      checks: by which the model was judged.
      agreement: the model's agreement under each check; NaN if it has not been evaluated.
      share: the share of draws in proportion to errors; see `by_errors`.
    """
    wrong = jnp.where(checks.alone < 0, 0, 1 - jnp.nan_to_num(agreement[checks.alone], nan=1.0))
    of_set = jnp.zeros_like(sets.single).at[1 + jnp.arange(len(wrong))].set(wrong, mode="drop")
    return sets._replace(single=by_errors(sets.single, of_set, share))


def by_errors(
    chances: Float[Array, " set"], wrong: Float[Array, " set"], share: Float[Array, ""] | float
) -> Float[Array, " set"]:
    """Probabilities of sets when a share of the draws goes by the errors under each set.

    These draws choose a set in proportion to `chances * wrong`, the others in proportion to
    `chances`. If no set has an error, all draws are in proportion to `chances`.

    Args:
      chances: probabilities of the sets regardless of errors; they need not sum to 1.
      wrong: share of wrong answers under each set.
      share: the share of draws in proportion to errors.
    """
    by_error = chances * wrong
    even = chances / jnp.maximum(chances.sum(), 1e-9)
    focus = jnp.where(by_error.sum() > 0, share, 0.0)
    return (1 - focus) * even + focus * by_error / jnp.maximum(by_error.sum(), 1e-9)


def draw_outside(
    key: Array, outside: Float[Array, "writer reader"], share: Float[Array, " row"]
) -> Float[Array, "row writer reader"]:
    """Draws sets of edges outside the circuit: half by single edges, half by whole writers.

    Args:
      key: a JAX random key.
      outside: 1 at the edges that can be drawn.
      share: for each row, the share of the edges or writers.
    """
    key_kind, key_edge, key_writer = jax.random.split(key, 3)
    n, (n_writers, _) = len(share), outside.shape
    share = share[:, None, None]
    by_edge = jax.random.uniform(key_edge, (n, *outside.shape)) < share
    by_writer = jax.random.uniform(key_writer, (n, n_writers, 1)) < share
    kind = jax.random.bernoulli(key_kind, 0.5, (n, 1, 1))
    return jnp.where(kind, by_edge, by_writer) * outside[None]
