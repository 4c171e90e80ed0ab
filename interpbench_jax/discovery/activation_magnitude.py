"""A baseline: writers are scored by how much ablation changes their output."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from interpbench_jax.discovery.batch import ContrastBatch, Loss
from interpbench_jax.discovery.position_shares import position_shares
from interpbench_jax.discovery.rows import Part, sum_over_rows
from interpbench_jax.model import Params, TransformerConfig
from interpbench_jax.model.bilinear import product
from interpbench_jax.model.network import Network, as_network


@functools.partial(jax.jit, static_argnames=("network", "loss"))
def activation_magnitude(
    params: Params, network: TransformerConfig | Network, batch: ContrastBatch, loss: Loss
) -> Float[Array, "writer reader"]:
    """Root mean square of the change that a patch makes, the same for all edges of a writer.

    The mean is over inputs and all their positions up to the last one that the loss counts.

    Args:
      params: weights.
      network: a transformer's shape, or another network.
      batch: what writers write, the source of patches, and which positions count.
      loss: unused.
    """
    del loss

    def squares(part: Part) -> Float[Array, " writer"]:
        each = ((part.source - part.written) ** 2).sum(-1)
        return product("bpw,bp->w", each, part.positions)

    shares = batch._replace(positions=position_shares(network, batch))
    mean = sum_over_rows(squares, params, network, shares)
    return jnp.sqrt(mean)[:, None] * as_network(network).graph.valid
