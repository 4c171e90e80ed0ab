"""Sets of edges on which a model is evaluated, with the algorithm's answers on pairs of inputs."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Num

from interpbench_jax.alignment import Alignment
from interpbench_jax.alignment.alignment import group_masks, group_union
from interpbench_jax.alignment.edge_levels import EdgeLevel, draw_sets, qkv_level
from interpbench_jax.siit.set_answers import answer_sets, answered
from interpbench_jax.tasks.task import Pairs, Task

# Under the patch of a single group, this share of the checked pairs should have an answer.
_FEWEST_ANSWERED = 1 / 16


class EdgeChecks(NamedTuple):
    """Sets of edges on which a model is evaluated, all on the same pairs.

    Attributes:
      masks: masks of the network, 1 at the edges that are patched.
      base: token ids of the inputs to run on.
      source: token ids of the inputs from which patched edges take their values.
      position_weights: weight of each position.
      targets: the algorithm's answers on the base under some sets of its edges; -1 or NaN where it
        has no answer.
      which: for each check, the index of its target.
      alone: for each group of the circuit's edges, the first check that patches this group and no
        other edge; -1 if there is none.
      n_first: number of checks, from the first, that training evaluates after every round; the
        others only if the model passes all before them.
    """

    masks: Float[Array, "check writer reader"]
    base: Int[Array, "pair pos"]
    source: Int[Array, "pair pos"]
    position_weights: Float[Array, "pair pos"]
    targets: Num[Array, "target pair pos"]
    which: Int[Array, " check"]
    alone: Int[Array, " group"]
    n_first: Int[Array, ""]


def usual_checks(
    task: Task,
    alignment: Alignment,
    pairs: Pairs,
    key: Array,
    *,
    n_random: int,
    n_pairs: int | None = None,
) -> EdgeChecks:
    """The sets of edges that decide when training stops.

    In this order: all edges outside at once, every group of the circuit, random sets, and every
    edge outside; q, k and v are separate. They are evaluated on some pairs; see `pairs_to_judge`.
    The edges outside, most of the checks, are evaluated only if the model passes the others.

    Args:
      task: the task with the algorithm.
      alignment: its alignment with the network that is evaluated.
      pairs: pairs to choose from.
      key: a JAX random key.
      n_random: number of random sets, with edges inside and outside.
      n_pairs: number of pairs to evaluate on; all by default.
    """
    level = qkv_level(alignment)
    each = np.eye(len(level.names), dtype=bool)
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    first = np.concatenate(
        [~level.inside[None], each[level.inside], draw_sets(level, rng, n_random)]
    )
    alone = each[~level.inside]
    chosen = pairs_to_judge(task, alignment, pairs, n_pairs)
    checks = edge_checks(task, alignment, chosen, level, np.concatenate([first, alone]))
    return checks._replace(n_first=jnp.asarray(len(first)))


def pairs_to_judge(
    task: Task, alignment: Alignment, pairs: Pairs, n_pairs: int | None = None
) -> Pairs:
    """Chooses pairs on which a model is judged: the first ones, or those with rare answers.

    Under the patch of a single group of edges the algorithm may seldom have an answer, so that a
    handful of positions would decide. Then pairs with an answer take the place of others, until one
    pair in 16 has one.

    Args:
      task: the task with the algorithm.
      alignment: its alignment with the network that is evaluated.
      pairs: pairs to choose from.
      n_pairs: number of pairs to choose; all by default, or if there are no more.

    Raises:
      ValueError: `n_pairs` is smaller than 1.
    """
    if n_pairs is not None and n_pairs < 1:
        raise ValueError(f"n_pairs must be at least 1, got {n_pairs}")
    if n_pairs is None or n_pairs >= len(pairs.base):
        return pairs
    masks = group_masks(alignment)[0].astype(np.float32)
    fewest = int(n_pairs * _FEWEST_ANSWERED)

    def with_answer(
        some: Pairs, masks: Float[np.ndarray, "group writer reader"]
    ) -> Bool[np.ndarray, "group pair"]:
        shape = (len(masks), *some.base.shape)
        rows = [np.broadcast_to(tokens, shape) for tokens in (some.base, some.source)]
        targets = np.asarray(answer_sets(task.defined_answers, *rows, masks))
        return answered(targets, some.position_weights)

    first = Pairs(*(part[:n_pairs] for part in pairs))
    rare = np.flatnonzero(with_answer(first, masks).sum(1) < fewest)
    if not len(rare):
        return first
    of_each = [np.flatnonzero(own)[:fewest] for own in with_answer(pairs, masks[rare])]
    wanted = np.unique(np.concatenate(of_each))[:n_pairs]
    others = np.setdiff1d(np.arange(len(pairs.base)), wanted)[: n_pairs - len(wanted)]
    chosen = np.sort(np.concatenate([wanted, others]))
    return Pairs(*(part[chosen] for part in pairs))


def edge_checks(
    task: Task,
    alignment: Alignment,
    pairs: Pairs,
    level: EdgeLevel,
    sets: Bool[np.ndarray, "check unit"],
) -> EdgeChecks:
    """Computes the algorithm's answers under sets of edges on given pairs.

    Args:
      task: the task with the algorithm.
      alignment: its alignment with the network that is evaluated.
      pairs: pairs to evaluate on.
      level: the units that the sets consist of.
      sets: the units that each check patches.
    """
    patched = level.groups_of(sets)
    targets, which = np.unique(patched, axis=0, return_inverse=True)
    single = patched & ((patched.sum(1) == 1) & ~(sets & ~level.inside).any(1))[:, None]
    shape = (len(targets), *pairs.base.shape)
    rows = [np.broadcast_to(tokens, shape) for tokens in (pairs.base, pairs.source)]
    masks = group_union(targets, group_masks(alignment)[0])
    return EdgeChecks(
        masks=jnp.asarray(level.masks(sets), jnp.float32),
        base=jnp.asarray(pairs.base),
        source=jnp.asarray(pairs.source),
        position_weights=jnp.asarray(pairs.position_weights),
        targets=answer_sets(task.defined_answers, *rows, masks),
        which=jnp.asarray(which.reshape(-1)),
        alone=jnp.asarray(np.where(single.any(0), single.argmax(0), -1)),
        n_first=jnp.asarray(len(sets)),
    )
