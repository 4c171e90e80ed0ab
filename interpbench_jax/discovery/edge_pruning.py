"""Edge pruning: learns masks of edges and writers under a constraint on the number of edges."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from interpbench_jax.discovery.batch import ContrastBatch, Loss
from interpbench_jax.discovery.hard_concrete import (
    INITIAL_LOGIT,
    keep_probability,
    sample_hard_concrete,
)
from interpbench_jax.discovery.mask_learning import (
    LEARNING,
    Learning,
    LearntMasks,
    ascending,
    learn_masks,
)
from interpbench_jax.discovery.objective import edge_masked_loss
from interpbench_jax.model import Params, TransformerConfig
from interpbench_jax.model.network import Network, as_network

SHARES = (0.02, 0.05, 0.1, 0.2, 0.4)
# Share of the steps during which the target number of edges falls.
_FALLING = 0.7
# Learning rate of the multipliers relative to masks; a larger one would dominate the loss.
_PACE = 0.1


def edge_pruning(
    params: Params,
    network: TransformerConfig | Network,
    batch: ContrastBatch,
    loss: Loss,
    *,
    shares: tuple[float, ...] = SHARES,
    learning: Learning = LEARNING,
    key: Array | None = None,
) -> Float[Array, "writer reader"]:
    """Ranks edges by their probability of being kept, averaged over target shares of edges.

    Args:
      params: weights.
      network: a transformer's shape, or another network.
      batch: inputs and the source of patches.
      loss: `(logits, batch) -> scalar`; KL to the clean output in the paper.
      shares: target shares of edges to keep, ascending; all masks are learnt at once.
      learning: steps, rate, rows per step.
      key: a JAX random key; by default the key of seed 0.

    Returns:
      From 0 (never kept) to 1 (kept at every share).

    Raises:
      ValueError: shares are not ascending from above 0 to 1, or a number of `learning` is not
        positive.

    Source: Bhaskar et al. 2024, Finding Transformer Circuits with Edge Pruning.
    """
    key = jax.random.key(0) if key is None else key
    targets = ascending("shares", shares)
    if shares[-1] > 1:
        raise ValueError(f"shares must be at most 1, got {shares}")
    learnt = prune_edges(params, network, batch, loss, targets, key, learning)
    return learnt.kept.mean(0)


@functools.partial(jax.jit, static_argnames=("network", "loss", "learning"))
def prune_edges(
    params: Params,
    network: TransformerConfig | Network,
    batch: ContrastBatch,
    loss: Loss,
    shares: Float[Array, " share"],
    key: Array,
    learning: Learning,
) -> LearntMasks:
    """Learns hard concrete masks of edges and of writers, for each target share.

    An edge is kept if both its own mask and its writer's mask are 1. Let l be the loss, in units of
    its rise when all edges are patched, s the expected number of edges kept, and t the target. Then
    l + a (s - t) + b (s - t)^2 is minimised over masks and maximised over a and b. t falls from all
    edges to the target and stays there for the last 30 % of the steps; a constant t would remove
    edges before the loss shows which of them matter.

    Args:
      params: weights.
      network: a transformer's shape, or another network.
      batch: inputs and the source of patches; edges that are not kept are patched.
      loss: `(logits, batch) -> scalar`.
      shares: target shares of edges to keep.
      key: a JAX random key.
      learning: steps, rate, rows per step.
    """
    valid = jnp.asarray(as_network(network).graph.valid)
    all_patched = edge_masked_loss(params, network, batch, loss)(valid.astype(float))
    rise = jnp.abs(all_patched - loss(batch.clean_logits, batch))
    unit = jnp.where(rise == 0, 1.0, rise)  # NaN stays NaN

    def kept(masks: dict[str, Array]) -> Float[Array, "writer reader"]:
        return keep_probability(masks["edges"]) * keep_probability(masks["writers"])[:, None]

    def objective(
        masks: dict[str, Array], key: Array, rows: ContrastBatch, share: Array
    ) -> tuple[Array, tuple[Array, Array]]:
        for_edges, for_writers = jax.random.split(key)
        sampled = sample_hard_concrete(for_edges, masks["edges"])
        sampled *= sample_hard_concrete(for_writers, masks["writers"])[:, None]
        value = edge_masked_loss(params, network, rows, loss)((1 - sampled) * valid)
        size = kept(masks).mean(where=valid)
        excess = (size - share) * valid.sum()
        penalty = _PACE * masks["multipliers"] @ jnp.stack([excess, excess**2])
        return value / unit + penalty, (value, size)

    def ascend(gradient: dict[str, Array]) -> dict[str, Array]:
        return gradient | {"multipliers": -gradient["multipliers"]}

    start = {
        "edges": jnp.full(valid.shape, INITIAL_LOGIT),
        "writers": jnp.full(valid.shape[0], INITIAL_LOGIT),
        "multipliers": jnp.zeros(2),
    }
    fallen = jnp.minimum(jnp.arange(learning.steps) / (_FALLING * learning.steps), 1.0)
    targets = 1 - (1 - shares[:, None]) * fallen[None]
    masks, losses, sizes = learn_masks(
        objective, start, targets, batch, key, learning, ascend=ascend
    )
    return LearntMasks(jax.vmap(kept)(masks) * valid[None], losses, sizes)
