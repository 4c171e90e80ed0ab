"""A baseline: writers matter as much as ablation changes what they write."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from interpbench_jax.discovery.batch import ContrastBatch, Loss
from interpbench_jax.discovery.position_shares import position_shares
from interpbench_jax.discovery.rows import Part, sum_over_rows
from interpbench_jax.model import Params, TransformerConfig
from interpbench_jax.model.network import Network, as_network


@functools.partial(jax.jit, static_argnames=("network", "loss"))
def activation_magnitude(
    params: Params, network: TransformerConfig | Network, batch: ContrastBatch, loss: Loss
) -> Float[Array, "writer reader"]:
    """Root mean square of the difference that a patch makes, the same for all of a writer's edges.

    The mean is over inputs and all their positions up to the last that the loss counts.

    Args:
      params: weights.
      network: the shape of the model, or another network.
      batch: what is written, what patches put in, and which positions count.
      loss: of no effect.
    """
    del loss

    def squares(part: Part) -> Float[Array, " writer"]:
        each = ((part.source - part.written) ** 2).sum(-1)
        return jnp.einsum("bpw,bp->w", each, part.positions)

    shares = batch._replace(positions=position_shares(network, batch))
    mean = sum_over_rows(squares, params, network, shares)
    return jnp.sqrt(mean)[:, None] * as_network(network).graph.valid
