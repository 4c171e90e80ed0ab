"""Subnetwork probing on nodes: learns a mask of heads and MLPs to keep."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from interpbench_jax.discovery.batch import ContrastBatch, Loss
from interpbench_jax.discovery.edge_probing import PENALTIES
from interpbench_jax.discovery.hard_concrete import (
    INITIAL_LOGIT,
    keep_probability,
    sample_hard_concrete,
)
from interpbench_jax.discovery.mask_learning import (
    LEARNING,
    Learning,
    LearntMasks,
    learn_masks,
    mean_kept,
)
from interpbench_jax.discovery.objective import node_masked_loss
from interpbench_jax.model import Params, TransformerConfig
from interpbench_jax.model.network import Network, as_network


def node_probing(
    params: Params,
    network: TransformerConfig | Network,
    batch: ContrastBatch,
    loss: Loss,
    *,
    penalties: tuple[float, ...] = PENALTIES,
    learning: Learning = LEARNING,
    key: Array | None = None,
) -> Float[Array, " writer"]:
    """Ranks writers by their probability of being kept, averaged over weights of the penalty.

    Args:
      params: weights.
      network: a transformer's shape, or another network.
      batch: inputs and the source of patches.
      loss: `(logits, batch) -> scalar`.
      penalties: weights of the share of writers kept, ascending; all masks are learnt at once.
      learning: steps, rate, rows per step.
      key: a JAX random key; by default the key of seed 0.

    Returns:
      From 0 (never kept) to 1 (kept at every weight).

    Raises:
      ValueError: penalties are not ascending, or a number of `learning` is not positive.

    Source: Cao et al. 2021, Low-Complexity Probing via Finding Subnetworks.
    """
    return mean_kept(probe_nodes, params, network, batch, loss, penalties, learning, key)


@functools.partial(jax.jit, static_argnames=("network", "loss", "learning"))
def probe_nodes(
    params: Params,
    network: TransformerConfig | Network,
    batch: ContrastBatch,
    loss: Loss,
    penalties: Float[Array, " penalty"],
    key: Array,
    learning: Learning,
) -> LearntMasks:
    """Learns one hard concrete mask per weight of the penalty: loss + weight x share kept.

    Args:
      params: weights.
      network: a transformer's shape, or another network.
      batch: inputs and the source of patches; writers that are not kept are patched.
      loss: `(logits, batch) -> scalar`.
      penalties: weights of the penalty.
      key: a JAX random key.
      learning: steps, rate, rows per step.
    """

    def objective(
        logits: Array, key: Array, rows: ContrastBatch, penalty: Array
    ) -> tuple[Array, tuple[Array, Array]]:
        patched = 1 - sample_hard_concrete(key, logits)
        value = node_masked_loss(params, network, rows, loss)(patched)
        size = keep_probability(logits).mean()
        return value + penalty * size, (value, size)

    start = jnp.full(as_network(network).graph.n_writers, INITIAL_LOGIT)
    logits, losses, sizes = learn_masks(objective, start, penalties, batch, key, learning)
    return LearntMasks(keep_probability(logits), losses, sizes)
