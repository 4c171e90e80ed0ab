"""The losses that SIIT minimises, and the agreement with the algorithm."""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, Num

from interpbench_jax.model import Params, TransformerConfig
from interpbench_jax.model.indices import check_indices
from interpbench_jax.model.network import Network, as_network

TOLERANCE = 0.05
"""Largest absolute error of a correct answer, in tasks whose answers are values."""


def task_loss(
    logits: Float[Array, "pair pos d_vocab_out"],
    target: Num[Array, "pair pos"],
    position_weights: Float[Array, "pair pos"],
) -> Float[Array, ""]:
    """Cross entropy for integer targets, squared error for float ones; mean over positions.

    Args:
      logits: the model's outputs.
      target: labels or values.
      position_weights: weight of each position.

    Raises:
      ValueError: a label is not among the outputs (checked outside of `jit` only).
    """
    return (position_losses(logits, target) * position_weights).sum() / position_weights.sum()


def position_losses(
    logits: Float[Array, "pair pos d_vocab_out"], target: Num[Array, "pair pos"]
) -> Float[Array, "pair pos"]:
    """Cross entropy for integer targets, squared error for float ones, at every position.

    Args:
      logits: the model's outputs.
      target: labels or values.

    Raises:
      ValueError: a label is not among the outputs (checked outside of `jit` only).
    """
    if jnp.issubdtype(target.dtype, jnp.integer):
        check_indices("target has label", target, logits.shape[-1])
        return optax.softmax_cross_entropy_with_integer_labels(logits, target)
    return (logits[..., 0] - target) ** 2


def agreement(
    logits: Float[Array, "pair pos d_vocab_out"],
    target: Num[Array, "pair pos"],
    position_weights: Float[Array, "pair pos"],
) -> Float[Array, ""]:
    """Share of positions at which the model's output is right; see `is_right`.

    Args:
      logits: the model's outputs.
      target: labels or values.
      position_weights: weight of each position.
    """
    return (is_right(logits, target) * position_weights).sum() / position_weights.sum()


def is_right(
    logits: Float[Array, "pair pos d_vocab_out"], target: Num[Array, "pair pos"]
) -> Bool[Array, "pair pos"]:
    """Where the model's output matches the target.

    For labels, the argmax must be the label; for values, the output must be within 0.05. An output
    with NaN is always wrong (an argmax would return the index of the NaN).

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
    position_weights: Float[Array, "*intervention pair pos"],
    *,
    detached: Float[Array, " writer"] | None = None,
    source_gradient: bool = True,
) -> Float[Array, " intervention"]:
    """The task loss under several interchanges of one batch, run as one.

    A zero mask with the base target gives the behaviour loss; a variable's nodes with the
    variable's target the IIT loss; nodes outside the circuit with the base target the strict loss.

    Args:
      params: weights.
      model: a transformer's shape, or another network.
      base: inputs to run on.
      source: inputs from which the patched nodes take their values.
      masks: 1 at the nodes that an intervention patches; one mask for all pairs, or one per pair.
      targets: per intervention, the algorithm's answers.
      position_weights: weight of each position, for all interventions or for each.
      detached: 1 at nodes through which no gradient flows.
      source_gradient: whether gradients flow back into the run on the source; see
        `forward_interchanges` for the gradients that remain if not.

    Source: Gupta et al. 2024, InterpBench, section 3; IIT is Geiger et al. 2022.
    """
    logits = as_network(model).run_interchanges(
        params, base, source, masks, detached=detached, source_gradient=source_gradient
    )
    own = 0 if position_weights.ndim == 3 else None
    return jax.vmap(task_loss, (0, 0, own))(logits, targets, position_weights)
