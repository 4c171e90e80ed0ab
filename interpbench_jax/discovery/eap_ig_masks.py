"""Integrated gradients along the edge mask, called EAP-IG in InterpBench."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from interpbench_jax.discovery.attribution import check_steps, mask_gradient
from interpbench_jax.discovery.batch import ContrastBatch, Loss
from interpbench_jax.model import Params, TransformerConfig
from interpbench_jax.model.network import Network, as_network


@functools.partial(jax.jit, static_argnames=("network", "loss", "steps"))
def eap_ig_masks(
    params: Params,
    network: TransformerConfig | Network,
    batch: ContrastBatch,
    loss: Loss,
    *,
    steps: int = 10,
) -> Float[Array, "writer reader"]:
    """The mask gradient, averaged along a path on which all edges go from clean to patched.

    Args:
      params: weights.
      network: a transformer's shape, or another network.
      batch: inputs and the source of patches.
      loss: `(logits, batch) -> scalar`.
      steps: the gradient is computed at masks 0, 1/steps, ..., 1.

    Returns:
      Each edge's part of the rise of the loss from clean to fully patched; the parts add up to this
      rise in the limit of many steps. 0 where there is no edge. The original sums the `steps + 1`
      gradients; this is their mean.

    Raises:
      ValueError: `steps` is smaller than 1.

    Source: Gupta et al. 2024, InterpBench; the path rule is Sundararajan et al. 2017.
    """
    check_steps(steps)
    valid = as_network(network).graph.valid

    def add(total: Array, share: Array) -> tuple[Array, None]:
        return total + mask_gradient(params, network, batch, loss, share), None

    total, _ = jax.lax.scan(add, jnp.zeros(valid.shape), jnp.linspace(0, 1, steps + 1))
    return total / (steps + 1)
