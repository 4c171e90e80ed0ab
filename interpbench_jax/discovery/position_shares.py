"""The positions over which methods without a loss average."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from interpbench_jax.discovery.batch import ContrastBatch
from interpbench_jax.model import TransformerConfig
from interpbench_jax.model.network import Network, TransformerNetwork, as_network


def position_shares(
    network: TransformerConfig | Network, batch: ContrastBatch
) -> Float[Array, "batch pos"]:
    """Equal weights of all positions that can affect the loss.

    These are all positions up to the last one of the row that the loss counts, including BOS:
    information at that position may come from any of them. In transformers whose attention is not
    causal, it may also come from later ones. Padding has no weight: the end of a row, and the
    padding token of transformers that have one.

    Args:
      network: a transformer's shape, or another network.
      batch: inputs, and which positions count.
    """
    counted = jnp.asarray(batch.positions != 0, jnp.float32)
    seen = jax.lax.cummax(counted, axis=1, reverse=True)
    whole = as_network(network)
    config = whole.config if isinstance(whole, TransformerNetwork) else None
    if isinstance(config, TransformerConfig):  # decoders are causal, and have no padding token
        if not config.causal:
            seen = jnp.broadcast_to(seen.max(1, keepdims=True), seen.shape)
        if config.pad is not None:
            seen = seen * (batch.clean != config.pad)
    return seen / seen.sum()
