"""Uniform gradient sampling: learns edges' probabilities from gradients at partly kept edges."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from interpbench_jax.discovery.batch import ContrastBatch, Loss
from interpbench_jax.discovery.edge_probing import PENALTIES
from interpbench_jax.discovery.hard_concrete import INITIAL_LOGIT
from interpbench_jax.discovery.mask_learning import (
    LEARNING,
    Learning,
    LearntMasks,
    learn_masks,
    mean_kept,
)
from interpbench_jax.discovery.objective import edge_masked_loss
from interpbench_jax.model import Params, TransformerConfig
from interpbench_jax.model.network import Network, as_network


def uniform_gradient_sampling(
    params: Params,
    network: TransformerConfig | Network,
    batch: ContrastBatch,
    loss: Loss,
    *,
    penalties: tuple[float, ...] = PENALTIES,
    learning: Learning = LEARNING,
    key: Array | None = None,
) -> Float[Array, "writer reader"]:
    """Ranks edges by their probability of being kept, averaged over weights of the penalty.

    Args:
      params: weights.
      network: a transformer's shape, or another network.
      batch: inputs and the source of patches; the paper learns optimal constants.
      loss: `(logits, batch) -> scalar`; KL to the clean output in the paper.
      penalties: weights of the share of edges kept, ascending; all masks are learnt at once.
      learning: steps, rate, rows per step.
      key: a JAX random key; by default the key of seed 0.

    Returns:
      From 0 (never kept) to 1 (kept at every weight).

    Raises:
      ValueError: penalties are not ascending, or a number of `learning` is not positive.

    Source: Li and Janson 2024, Optimal ablation for interpretability.
    """
    return mean_kept(sample_gradients, params, network, batch, loss, penalties, learning, key)


@functools.partial(jax.jit, static_argnames=("network", "loss", "learning"))
def sample_gradients(
    params: Params,
    network: TransformerConfig | Network,
    batch: ContrastBatch,
    loss: Loss,
    penalties: Float[Array, " penalty"],
    key: Array,
    learning: Learning,
) -> LearntMasks:
    """Learns each edge's probability p for each weight of the penalty: loss + weight x mean p.

    With probability p (1 - p), an edge is kept in part, uniformly between 0 and 1; otherwise fully
    or not at all, such that its mean is p. Only the draws in part give p a gradient.

    Args:
      params: weights.
      network: a transformer's shape, or another network.
      batch: inputs and the source of patches.
      loss: `(logits, batch) -> scalar`.
      penalties: weights of the penalty.
      key: a JAX random key.
      learning: steps, rate, rows per step.
    """
    valid = jnp.asarray(as_network(network).graph.valid)

    def objective(
        logits: Array, key: Array, rows: ContrastBatch, penalty: Array
    ) -> tuple[Array, tuple[Array, Array]]:
        p = jax.nn.sigmoid(logits)
        window = jax.lax.stop_gradient(p * (1 - p)) + 1e-9
        kept = jnp.clip(0.5 + (p - jax.random.uniform(key, p.shape)) / window, 0.0, 1.0)
        value = edge_masked_loss(params, network, rows, loss)((1 - kept) * valid)
        size = p.mean(where=valid)
        return value + penalty * size, (value, size)

    start = jnp.full(valid.shape, INITIAL_LOGIT)
    logits, losses, sizes = learn_masks(objective, start, penalties, batch, key, learning)
    return LearntMasks(jax.nn.sigmoid(logits) * valid[None], losses, sizes)
