"""Edges of a circuit that no patch can reveal: they carry only positions, lengths or constants."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Num

from interpbench_jax.alignment.alignment import Alignment, group_masks, group_union
from interpbench_jax.alignment.subsets import every_subset
from interpbench_jax.model import Circuit
from interpbench_jax.model.circuit import Edge
from interpbench_jax.tasks.splits import HELD_OUT
from interpbench_jax.tasks.task import Pairs, Task, answers_differ

CHANGE = 1e-4
"""Values that differ by at most this are the same answer."""

_N_PAIRS = 500
_N_SETS = 1_024
# Pairs and sets of edges that one call answers, fixed so that one compiled program is reused.
_PAIRS, _SETS = 250, 64


def observed_circuit(task: Task, alignment: Alignment) -> Circuit:
    """The circuit of the network, with edges that no patch can reveal marked as unobservable.

    Args:
      task: the task.
      alignment: alignment of its algorithm with the network.

    Returns:
      `alignment.circuit`, whose `unobservable` has the edges of all `unobservable_groups`.
    """
    hidden = unobservable_groups(task, alignment)
    edges: frozenset[Edge] = frozenset()
    for (_, theirs), unseen in zip(alignment.groups, hidden, strict=True):
        edges |= theirs if unseen else frozenset()
    return dataclasses.replace(alignment.circuit, unobservable=edges)


def unobservable_groups(task: Task, alignment: Alignment) -> Bool[np.ndarray, " group"]:
    """Which groups of edges never change an answer of the algorithm, whatever else is patched.

    A set of other groups is patched from another input, once without the group and once with it.
    The group is observable if the answers differ at a position that counts, for any set and any
    pair of inputs. All sets are tested if there are at most 1,024; otherwise 1,024 random sets, of
    all sizes. Up to 500 pairs are drawn from all inputs with a fixed key, so the result depends
    only on the task and the alignment.

    Nothing is compared where the algorithm has no single answer. A group is unobservable if
    patching it always leads to that.

    Args:
      task: gives answers and inputs.
      alignment: gives the groups.

    Returns:
      True at the groups of `alignment.groups` that are unobservable.
    """
    members = group_masks(alignment)[0]
    n_groups = len(members)
    every = 2**n_groups <= _N_SETS
    sets = every_subset(n_groups) if every else _drawn_sets(n_groups)
    hidden = np.ones(n_groups, bool)
    answers, key = task.defined_answers, jax.random.key(0)
    split = dataclasses.replace(task.split(HELD_OUT), divided=False)
    for pairs in _chunks(task.pairs(split, "test", _N_PAIRS, key)):
        counts = pairs.position_weights > 0
        before = _answers_under(answers, pairs, sets, members)
        for group in np.flatnonzero(hidden):
            if every:
                after = before[np.arange(len(sets)) ^ 1 << group]
            else:
                other = sets.copy()
                other[:, group] ^= True
                after = _answers_under(answers, pairs, other, members)
            hidden[group] = not (answers_differ(before, after, CHANGE) & counts).any()
        if not hidden.any():
            break
    return hidden


def _drawn_sets(n_groups: int) -> Bool[np.ndarray, "set group"]:
    """Random sets; the share of groups is drawn for each set, from none to all."""
    key_share, key_set = jax.random.split(jax.random.key(1))
    share = jax.random.uniform(key_share, (_N_SETS, 1))
    return np.array(jax.random.uniform(key_set, (_N_SETS, n_groups)) < share)


def _chunks(pairs: Pairs) -> Iterator[Pairs]:
    """Chunks of equal size; the last one is filled by repeating pairs."""
    for start in range(0, len(pairs.base), _PAIRS):
        some = [array[start : start + _PAIRS] for array in pairs]
        short = _PAIRS - len(some[0])
        yield Pairs(*(np.pad(array, ((0, short), (0, 0)), mode="edge") for array in some))


def _answers_under(
    answers: Any,
    pairs: Pairs,
    sets: Bool[np.ndarray, "set group"],
    members: Bool[np.ndarray, "group writer reader"],
) -> Num[np.ndarray, "set pair pos"]:
    """The algorithm's answers with the edges of each set patched."""
    masks = group_union(sets, members)
    at_once = min(_SETS, len(masks))  # their number is a power of two
    blocks = masks.reshape(-1, at_once, *members.shape[1:])
    found = np.asarray(_answer_blocks(answers, pairs.base, pairs.source, blocks))
    return found.reshape(-1, *pairs.base.shape)


@jax.jit
def _answer_blocks(
    answers: Any, base: Array, source: Array, blocks: Array
) -> Num[Array, "block set pair pos"]:
    return jax.lax.map(lambda masks: answers(base, source, masks), jnp.asarray(blocks))
