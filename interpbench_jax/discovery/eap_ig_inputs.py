"""EAP with integrated gradients along the input: EAP-IG of Hanna et al."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from interpbench_jax.discovery.attribution import attribution_along, input_writers, path_shares
from interpbench_jax.discovery.batch import ContrastBatch, Loss
from interpbench_jax.model import Params, TransformerConfig
from interpbench_jax.model.network import Network, as_network


@functools.partial(jax.jit, static_argnames=("network", "loss", "steps"))
def eap_ig_inputs(
    params: Params,
    network: TransformerConfig | Network,
    batch: ContrastBatch,
    loss: Loss,
    *,
    steps: int = 5,
) -> Float[Array, "writer reader"]:
    """EAP with gradients averaged along a path of inputs from clean to source.

    The mean includes the clean end of the path and excludes the source; the released code includes
    the corrupted input and excludes the clean one.

    Args:
      params: weights.
      network: a transformer's shape, or another network.
      batch: inputs and the source of patches.
      loss: `(logits, batch) -> scalar`.
      steps: gradients are computed at shares 0, 1/steps, ..., 1 - 1/steps of the path.

    Returns:
      Scores as in `eap`: positive where patching hurts.

    Raises:
      ValueError: `steps` is smaller than 1.

    Source: Hanna et al. 2024, Have Faith in Faithfulness; "EAP-IG-inputs" in MIB.
    """
    shares = path_shares(steps)
    inputs = jnp.zeros(as_network(network).graph.n_writers).at[input_writers(network)].set(1.0)
    masks = shares[:, None] * inputs[None]
    return attribution_along(params, network, batch, loss, masks)
