"""Over which positions scores are averaged that look at activations and at no loss."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from interpbench_jax.discovery.batch import ContrastBatch
from interpbench_jax.model import TransformerConfig
from interpbench_jax.model.network import Network, TransformerNetwork, as_network


def position_shares(
    network: TransformerConfig | Network, batch: ContrastBatch
) -> Float[Array, "batch pos"]:
    """The weight of each position in a mean over all that can have a say in the loss.

    These are all up to the last one of the row that the loss counts, alike: what is counted there
    may have been moved from any of them, from BOS as well. Padding is not among them, neither the
    tail of a row nor, in a transformer that has one, the padding token.

    Args:
      network: the shape of the model, or another network.
      batch: inputs, and which positions count.
    """
    counted = jnp.asarray(batch.positions != 0, jnp.float32)
    seen = jax.lax.cummax(counted, axis=1, reverse=True)
    whole = as_network(network)
    if isinstance(whole, TransformerNetwork) and whole.config.pad is not None:
        seen = seen * (batch.clean != whole.config.pad)
    return seen / seen.sum()
