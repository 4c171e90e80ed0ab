"""Activation patching: the exact effect of every writer, patched alone."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from interpbench_jax.discovery.batch import ContrastBatch, Loss
from interpbench_jax.discovery.objective import node_masked_loss
from interpbench_jax.model import Params, TransformerConfig
from interpbench_jax.model.chunks import map_chunks, runs_at_once
from interpbench_jax.model.network import Network, as_network


@functools.partial(jax.jit, static_argnames=("network", "loss"))
def node_patching(
    params: Params, network: TransformerConfig | Network, batch: ContrastBatch, loss: Loss
) -> Float[Array, " writer"]:
    """How much the loss rises when a single writer is patched, for all its readers.

    Args:
      params: weights.
      network: a transformer's shape, or another network.
      batch: inputs and the source of patches.
      loss: `(logits, batch) -> scalar`.

    Returns:
      The exact rise: positive where patching hurts.

    Source: Vig et al. 2020, Causal Mediation Analysis; Meng et al. 2022.
    """
    masked = node_masked_loss(params, network, batch, loss)
    alone = jnp.eye(as_network(network).graph.n_writers)
    chunk = runs_at_once(batch.clean_logits, batch.written)
    values = map_chunks(masked, alone, chunk=chunk)
    return values - loss(batch.clean_logits, batch)
