"""Leakage: information that flows around the circuit, found by patching sets of nodes outside."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from interpbench_jax.alignment.subsets import draw_subsets, every_subset
from interpbench_jax.model import NodePatch, Params, TransformerConfig
from interpbench_jax.model.chunks import map_chunks, runs_at_once
from interpbench_jax.model.network import Network, as_network
from interpbench_jax.siit import SiitProblem, agreement

# All subsets of 12 nodes.
N_SUBSETS = 4_096
"""If there are more subsets of nodes, this many are drawn; otherwise all are patched."""

Judge = Callable[[Bool[Array, "subset free"]], tuple[Array, Array]]
"""Agreement `[subset]`, and at each position `[subset, pos]`, when these nodes are patched."""


class Leakage(NamedTuple):
    """Shares of positions that miss the base's target when nodes outside the circuit are patched.

    Attributes:
      mean: mean over the subsets, without those of the greedy search.
      worst: share for the worst subset.
      worst_nodes: the nodes of that subset.
      worst_position: share for the worst subset at the worst position, over pairs.
      per_position: share for the worst subset at every position; 0 where none counts.
    """

    mean: Float[Array, ""]
    worst: Float[Array, ""]
    worst_nodes: Bool[Array, " free"]
    worst_position: Float[Array, ""]
    per_position: Float[Array, " pos"]


@functools.partial(jax.jit, static_argnames=("network", "n_subsets"))
def leakage(
    params: Params,
    network: TransformerConfig | Network,
    problem: SiitProblem,
    key: Array,
    *,
    n_subsets: int = N_SUBSETS,
) -> Leakage:
    """Patches subsets of the nodes outside the circuit from the source; no answer may change.

    The model's errors without a patch are included in all results, as the empty subset is one of
    the subsets. If there are more subsets than `n_subsets`, that many are drawn, and a greedy
    search looks for the worst: starting from the empty and from the worst drawn subset, it adds the
    node that does the most harm until none does. This includes each node alone (SIIA).

    Args:
      params: weights.
      network: a transformer's shape, or another network.
      problem: pairs, targets and nodes.
      key: random key for the subsets.
      n_subsets: the largest number of subsets.

    Raises:
      ValueError: `n_subsets` is smaller than 1.
    """
    if n_subsets < 1:
        raise ValueError(f"n_subsets must be at least 1, got {n_subsets}")
    judge = functools.partial(subset_agreement, params, network, problem)
    n_free = len(problem.free_nodes)
    if 2**n_free <= n_subsets:
        subsets = jnp.asarray(every_subset(n_free))
        agreed, at_position = judge(subsets)
        return _leakage(agreed.mean(), subsets, agreed, at_position)
    subsets = draw_subsets(key, n_subsets, n_free).at[0].set(False)
    agreed, at_position = judge(subsets)
    starts = jnp.stack([jnp.zeros((), int), agreed.argmin()])
    found = jax.lax.map(
        functools.partial(_greedy, judge), (subsets[starts], agreed[starts], at_position[starts])
    )
    tried = (subsets, agreed, at_position)
    return _leakage(agreed.mean(), *map(jnp.concatenate, zip(tried, found, strict=True)))


@functools.partial(jax.jit, static_argnames="network")
def subset_agreement(
    params: Params,
    network: TransformerConfig | Network,
    problem: SiitProblem,
    subsets: Bool[Array, "subset free"],
) -> tuple[Float[Array, " subset"], Float[Array, "subset pos"]]:
    """Agreement with the base's target when the free nodes of a subset are patched.

    Args:
      params: weights.
      network: a transformer's shape, or another network.
      problem: pairs, targets and nodes.
      subsets: which of `problem.free_nodes` are patched together.

    Returns:
      Agreement over all positions, and at each position; 1 where no position counts.
    """
    unpatched, written = as_network(network).run(params, problem.source)
    at_each = jnp.eye(problem.position_weights.shape[1])[:, None] * problem.position_weights[None]
    counted = problem.position_weights.any(0)

    def judge(mask: Float[Array, " writer"]) -> tuple[Float[Array, ""], Float[Array, " pos"]]:
        logits, _ = as_network(network).run(params, problem.base, NodePatch(mask, written))
        agreed = functools.partial(agreement, logits, problem.base_target)
        return agreed(problem.position_weights), jnp.where(counted, jax.vmap(agreed)(at_each), 1)

    masks = jnp.dot(subsets.astype(jnp.float32), problem.free_nodes)
    return map_chunks(judge, masks, chunk=runs_at_once(unpatched, written))


def _leakage(
    mean: Float[Array, ""],
    subsets: Bool[Array, "subset free"],
    agreed: Float[Array, " subset"],
    at_position: Float[Array, "subset pos"],
) -> Leakage:
    worst, per_position = agreed.argmin(), 1 - at_position.min(0)
    return Leakage(1 - mean, 1 - agreed[worst], subsets[worst], per_position.max(), per_position)


def _greedy(judge: Judge, start: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
    """Adds the node that does the most harm, until none does.

    Args:
      judge: computes the agreement to minimise.
      start: a subset, with the results of `judge` for it.

    Returns:
      The subset found, with the results of `judge` for it.
    """

    def add(state: tuple[tuple[Array, Array, Array], Array]):
        here, _ = state
        larger = here[0][None] | jnp.eye(len(here[0]), dtype=bool)
        agreed, at_position = judge(larger)
        best = agreed.argmin()
        better = agreed[best] < here[1]
        added = larger[best], agreed[best], at_position[best]
        return jax.tree.map(lambda new, old: jnp.where(better, new, old), added, here), better

    found, _ = jax.lax.while_loop(lambda state: state[1], add, (start, jnp.array(True)))
    return found
