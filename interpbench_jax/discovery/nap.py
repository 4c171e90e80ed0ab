"""Node attribution patching: every writer's effect to first order, from one gradient."""

import functools

import jax
from jaxtyping import Array, Float

from interpbench_jax.discovery.batch import ContrastBatch, Loss
from interpbench_jax.discovery.eap import eap
from interpbench_jax.model import Params, TransformerConfig
from interpbench_jax.model.network import Network


@functools.partial(jax.jit, static_argnames=("network", "loss"))
def nap(
    params: Params, network: TransformerConfig | Network, batch: ContrastBatch, loss: Loss
) -> Float[Array, " writer"]:
    """Gradient of the loss with respect to the mask of writers, at the unpatched model.

    A reader sees the sum of all writers, so this is the sum of `eap` over a writer's edges.

    Args:
      params: weights.
      network: a transformer's shape, or another network.
      batch: inputs and the source of patches.
      loss: `(logits, batch) -> scalar`.

    Returns:
      First-order estimate of how much the loss rises if the writer is patched: positive where
      patching hurts.

    Source: Nanda 2023, Attribution Patching; "NAP" in MIB (Mueller et al. 2025).
    """
    return eap(params, network, batch, loss).sum(1)
