"""Edge attribution patching: every edge's effect to first order, from one gradient."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from interpbench_jax.discovery.objective import ContrastBatch, Loss, edge_masked_loss
from interpbench_jax.model import Graph, Params, TransformerConfig


@functools.partial(jax.jit, static_argnames=("config", "loss"))
def eap(
    params: Params, config: TransformerConfig, batch: ContrastBatch, loss: Loss
) -> Float[Array, "writer reader"]:
    """Gradient of the loss with respect to the edge mask, at the unpatched model.

    Args:
      params: weights.
      config: their shape.
      batch: clean and corrupted inputs.
      loss: `(logits, batch) -> scalar`.

    Returns:
      How much the loss would rise if the edge were patched, to first order: positive where
      patching hurts. 0 where there is no edge.

    Source: Syed et al. 2023, Attribution Patching Outperforms Automated Circuit Discovery.
    """
    valid = Graph.of(config).valid
    gradient = jax.grad(edge_masked_loss(params, config, batch, loss))
    return gradient(jnp.zeros(valid.shape)) * valid
