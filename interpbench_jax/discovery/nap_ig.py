"""Node attribution patching with integrated gradients along the input."""

import functools

import jax
from jaxtyping import Array, Float

from interpbench_jax.discovery.batch import ContrastBatch, Loss
from interpbench_jax.discovery.eap_ig_inputs import eap_ig_inputs
from interpbench_jax.model import Params, TransformerConfig
from interpbench_jax.model.network import Network


@functools.partial(jax.jit, static_argnames=("network", "loss", "steps"))
def nap_ig(
    params: Params,
    network: TransformerConfig | Network,
    batch: ContrastBatch,
    loss: Loss,
    *,
    steps: int = 5,
) -> Float[Array, " writer"]:
    """`nap` with gradients averaged along a path of inputs from clean to source.

    Args:
      params: weights.
      network: a transformer's shape, or another network.
      batch: inputs and the source of patches.
      loss: `(logits, batch) -> scalar`.
      steps: gradients are computed at shares 0, 1/steps, ..., 1 - 1/steps of the path.

    Returns:
      Scores as in `nap`: positive where patching hurts.

    Raises:
      ValueError: `steps` is smaller than 1.

    Source: "NAP-IG" in MIB (Mueller et al. 2025), after Hanna et al. 2024.
    """
    return eap_ig_inputs(params, network, batch, loss, steps=steps).sum(1)
