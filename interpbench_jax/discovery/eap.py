"""Edge attribution patching: every edge's effect to first order, from one gradient."""

import functools

import jax
from jaxtyping import Array, Float

from interpbench_jax.discovery.attribution import attribution
from interpbench_jax.discovery.batch import ContrastBatch, Loss
from interpbench_jax.model import Params, TransformerConfig
from interpbench_jax.model.network import Network


@functools.partial(jax.jit, static_argnames=("network", "loss"))
def eap(
    params: Params, network: TransformerConfig | Network, batch: ContrastBatch, loss: Loss
) -> Float[Array, "writer reader"]:
    """Gradient of the loss with respect to the edge mask, at the unpatched model.

    Args:
      params: weights.
      network: a transformer's shape, or another network.
      batch: inputs and the source of patches.
      loss: `(logits, batch) -> scalar`.

    Returns:
      First-order estimate of how much the loss rises if the edge is patched: positive where
      patching hurts. 0 where there is no edge.

    Source: Syed et al. 2023, Attribution Patching Outperforms Automated Circuit Discovery.
    """
    return attribution(params, network, batch, loss)
