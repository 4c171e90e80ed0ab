"""The loss of a model with all edges outside a circuit patched, for many circuits at once."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from interpbench_jax.discovery import ContrastBatch, Loss, edge_masked_loss
from interpbench_jax.model import Params, TransformerConfig
from interpbench_jax.model.chunks import map_chunks, runs_at_once
from interpbench_jax.model.network import Network

# Circuits per call; one compiled program serves any number of circuits.
_CHUNK = 64


def circuit_losses(
    params: Params,
    network: TransformerConfig | Network,
    batch: ContrastBatch,
    loss: Loss,
    circuits: Bool[np.ndarray, "circuit writer reader"],
) -> Float[np.ndarray, " circuit"]:
    """Patches every edge outside a circuit at once, for one circuit after another.

    Args:
      params: weights.
      network: a transformer's shape, or another network.
      batch: inputs and the source of patches.
      loss: `(logits, batch) -> scalar`.
      circuits: true at edges that are not patched; entries that are not edges have no effect.

    Returns:
      The loss for each circuit.
    """
    # Of another type, `~` below would not be the complement.
    distinct, places = np.unique(np.asarray(circuits, bool), axis=0, return_inverse=True)
    losses = []
    for start in range(0, len(distinct), _CHUNK):
        chunk = distinct[start : start + _CHUNK]
        padded = np.zeros((_CHUNK, *chunk.shape[1:]), np.float32)
        padded[: len(chunk)] = ~chunk
        found = _losses(params, network, batch, loss, padded, np.arange(_CHUNK) < len(chunk))
        losses.append(np.asarray(found, np.float64)[: len(chunk)])
    return np.concatenate(losses)[places.reshape(-1)]


@functools.partial(jax.jit, static_argnames=("network", "loss"))
def _losses(
    params: Params,
    network: TransformerConfig | Network,
    batch: ContrastBatch,
    loss: Loss,
    masks: Float[Array | np.ndarray, "circuit writer reader"],
    wanted: Bool[Array | np.ndarray, " circuit"],
) -> Float[Array, " circuit"]:
    masked_loss = edge_masked_loss(params, network, batch, loss)

    def if_wanted(circuit: tuple[Array, Array]) -> Float[Array, ""]:
        return jax.lax.cond(circuit[1], masked_loss, lambda _: jnp.zeros(()), circuit[0])

    chunk = runs_at_once(batch.clean_logits, batch.written)
    return map_chunks(if_wanted, (jnp.asarray(masks), jnp.asarray(wanted)), chunk=chunk)
