"""What SIIT minimises, and the agreement it is judged by."""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, Num

from interpbench_jax.model import Params, TransformerConfig
from interpbench_jax.model.indices import check_indices
from interpbench_jax.model.network import Network, as_network

# How close a regression output must be to count as right.
TOLERANCE = 0.05
"""Largest absolute error of an answer that counts as right, in tasks whose answers are values."""


def task_loss(
    logits: Float[Array, "pair pos d_vocab_out"],
    target: Num[Array, "pair pos"],
    positions: Float[Array, "pair pos"],
) -> Float[Array, ""]:
    """Cross entropy for integer targets, squared error for float ones; mean over positions.

    Args:
      logits: the model's outputs.
      target: labels or values.
      positions: weight of each position.

    Raises:
      ValueError: outside of `jit`, a label is none of the outputs.
    """
    return (position_losses(logits, target) * positions).sum() / positions.sum()


def position_losses(
    logits: Float[Array, "pair pos d_vocab_out"], target: Num[Array, "pair pos"]
) -> Float[Array, "pair pos"]:
    """Cross entropy for integer targets, squared error for float ones, at every position.

    Args:
      logits: the model's outputs.
      target: labels or values.

    Raises:
      ValueError: outside of `jit`, a label is none of the outputs.
    """
    if jnp.issubdtype(target.dtype, jnp.integer):
        check_indices("target has label", target, logits.shape[-1])
        return optax.softmax_cross_entropy_with_integer_labels(logits, target)
    return (logits[..., 0] - target) ** 2


def agreement(
    logits: Float[Array, "pair pos d_vocab_out"],
    target: Num[Array, "pair pos"],
    positions: Float[Array, "pair pos"],
) -> Float[Array, ""]:
    """Share of positions where the model says what the target says; see `is_right`.

    Args:
      logits: the model's outputs.
      target: labels or values.
      positions: weight of each position.
    """
    return (is_right(logits, target) * positions).sum() / positions.sum()


def is_right(
    logits: Float[Array, "pair pos d_vocab_out"], target: Num[Array, "pair pos"]
) -> Bool[Array, "pair pos"]:
    """Where the model says what the target says.

    For labels its argmax is the label; for values it is within 0.05. An output with NaN is wrong,
    whatever the target: the argmax of NaN would be its place.

    Args:
      logits: the model's outputs.
      target: labels or values.
    """
    if jnp.issubdtype(target.dtype, jnp.integer):
        return (logits.argmax(-1) == target) & ~jnp.isnan(logits).any(-1)
    return jnp.abs(logits[..., 0] - target) <= TOLERANCE


def interchange_losses(
    params: Params,
    model: TransformerConfig | Network,
    base: Int[Array, "pair pos"],
    source: Int[Array, "pair pos"],
    masks: Float[Array, "intervention _ writer"],
    targets: Num[Array, "intervention pair pos"],
    positions: Float[Array, "*intervention pair pos"],
    *,
    detached: Float[Array, " writer"] | None = None,
    source_gradient: bool = True,
) -> Float[Array, " intervention"]:
    """The task loss under several interchanges of one batch, run as one.

    A zero mask with the base target is the behaviour loss; a variable's nodes with its target the
    IIT loss; nodes outside the circuit with the base target the strict loss.

    Args:
      params: weights.
      model: a transformer's shape, or another network.
      base: inputs to run on.
      source: inputs from which the masked nodes take their values.
      masks: per intervention, 1 at the nodes that are patched; the same for all pairs, or each
        pair's own.
      targets: per intervention, what the algorithm says.
      positions: weight of each position, the same for all interventions or each one's own.
      detached: 1 at nodes that let no gradient through.
      source_gradient: whether gradients flow back into the run on the source. If not, what it
        writes is given; see `forward_interchanges` for the little that a transformer passes on.

    Source: Gupta et al. 2024, InterpBench, section 3; IIT is Geiger et al. 2022.
    """
    logits = as_network(model).run_interchanges(
        params, base, source, masks, detached=detached, source_gradient=source_gradient
    )
    own = 0 if positions.ndim == 3 else None
    return jax.vmap(task_loss, (0, 0, own))(logits, targets, positions)
