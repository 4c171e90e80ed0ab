"""Leakage when nodes outside the circuit are patched at a single position."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from interpbench_jax.model import NodePatch, Params, TransformerConfig
from interpbench_jax.model.chunks import map_chunks, runs_at_once
from interpbench_jax.model.network import Network, as_network
from interpbench_jax.siit import SiitProblem, agreement


@functools.partial(jax.jit, static_argnames="network")
def position_leakage(
    params: Params, network: TransformerConfig | Network, problem: SiitProblem
) -> Float[Array, " pos"]:
    """Patches nodes outside the circuit from the source at one position; no answer may change.

    Training and `leakage` patch all positions at once, where changes at two positions can cancel.

    Args:
      params: weights.
      network: a transformer's shape, or another network.
      problem: pairs, targets and nodes.

    Returns:
      For every patched position, the share of counted positions that miss the base's target: the
      worst over each node alone and all nodes together.
    """
    unpatched, written = as_network(network).run(params, problem.source)
    together = jnp.concatenate([problem.free_nodes, problem.free_nodes.sum(0, keepdims=True)])
    here = jnp.eye(problem.base.shape[1])
    masks = jnp.einsum("sw,pq->spqw", together, here)  # at position p, seen at every position q

    def missed(mask: Float[Array, "pos writer"]) -> Float[Array, ""]:
        each = jnp.broadcast_to(mask, (problem.n_pairs, *mask.shape))
        logits, _ = as_network(network).run(params, problem.base, NodePatch(each, written))
        return 1 - agreement(logits, problem.base_target, problem.position_weights)

    masks = masks.reshape(-1, *masks.shape[2:])
    found = map_chunks(missed, masks, chunk=runs_at_once(unpatched, written))
    return found.reshape(len(together), len(here)).max(0)
