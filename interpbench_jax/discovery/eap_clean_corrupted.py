"""EAP with the mean of the gradients on the clean and on the corrupted input."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from interpbench_jax.discovery.attribution import attribution_along, input_writers
from interpbench_jax.discovery.batch import ContrastBatch, Loss
from interpbench_jax.model import Params, TransformerConfig
from interpbench_jax.model.network import Network, as_network


@functools.partial(jax.jit, static_argnames=("network", "loss"))
def eap_clean_corrupted(
    params: Params, network: TransformerConfig | Network, batch: ContrastBatch, loss: Loss
) -> Float[Array, "writer reader"]:
    """EAP with the mean of two gradients: on the clean input, and with the input replaced.

    Args:
      params: weights.
      network: a transformer's shape, or another network.
      batch: inputs and the source of patches.
      loss: `(logits, batch) -> scalar`.

    Returns:
      Scores as in `eap`: positive where patching hurts. This equals integrated gradients by the
      trapezoid rule with only the two end points. The corrupted end still has a gradient if the
      clean output is saturated.

    Source: Hanna et al. 2024, Have Faith in Faithfulness, appendix.
    """
    n_writers = as_network(network).graph.n_writers
    masks = jnp.zeros((2, n_writers)).at[1, input_writers(network)].set(1.0)
    return attribution_along(params, network, batch, loss, masks)
