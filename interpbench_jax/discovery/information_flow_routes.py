"""Information flow routes: the share of each writer in what a reader sees."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from interpbench_jax.discovery.batch import ContrastBatch, Loss
from interpbench_jax.discovery.position_shares import position_shares
from interpbench_jax.discovery.rows import Part, sum_over_rows
from interpbench_jax.model import Params, TransformerConfig
from interpbench_jax.model.bilinear import product
from interpbench_jax.model.network import Network, as_network


@functools.partial(jax.jit, static_argnames=("network", "loss"))
def information_flow_routes(
    params: Params, network: TransformerConfig | Network, batch: ContrastBatch, loss: Loss
) -> Float[Array, "writer reader"]:
    """A writer's share in what readers see, by closeness in the L1 norm.

    Let y be the sum of everything written before a reader, and z one writer's part. Closeness is
    max(|y| - |y - z|, 0); a share is closeness divided by its sum over writers. Shares are averaged
    over inputs and all their positions up to the last one that the loss counts. Neither the loss
    nor the ablation has an effect. Readers with the same earlier writers see the same, so q, k and
    v of a layer's heads have equal scores. Output biases of attention belong to no writer and are
    ignored.

    Args:
      params: weights.
      network: a transformer's shape, or another network.
      batch: inputs, and which positions count.
      loss: unused.

    Returns:
      Shares from 0 to 1; for every reader they add up to 1, or to 0 if no writer is close.

    Source: Ferrando and Voita 2024, Information Flow Routes; on edges as in MIB.
    """
    del loss
    graph = as_network(network).graph
    before, which = np.unique(graph.valid, axis=1, return_inverse=True)

    def shares(part: Part, seen: Float[Array, " writer"]) -> Float[Array, " writer"]:
        written = part.written * seen[None, None, :, None]
        total = written.sum(2, keepdims=True)
        rest = jnp.abs(total - written).sum(-1)
        closeness = jnp.maximum(jnp.abs(total).sum(-1) - rest, 0.0) * seen[None, None]
        everything = closeness.sum(-1, keepdims=True)
        share = closeness / jnp.where(everything > 0, everything, 1.0)
        return product("bpw,bp->w", share, part.positions)

    def at_each_place(part: Part) -> Float[Array, "place writer"]:
        return jax.lax.map(functools.partial(shares, part), jnp.asarray(before.T, jnp.float32))

    weights = batch._replace(positions=position_shares(network, batch))
    by_place = sum_over_rows(at_each_place, params, network, weights)
    return by_place[which.reshape(-1)].T * graph.valid
