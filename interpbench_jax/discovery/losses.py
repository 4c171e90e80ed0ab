"""Losses for discovery: `(logits, batch) -> scalar`, mean over the batch and counted positions."""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from interpbench_jax.discovery.batch import ContrastBatch, Loss
from interpbench_jax.model.indices import check_indices

Logits = Float[Array, "batch pos d_vocab_out"]


def kl_to_clean(logits: Logits, batch: ContrastBatch) -> Float[Array, ""]:
    """KL divergence from the unpatched model's output, in nats."""
    clean = jax.nn.log_softmax(batch.clean_logits)
    divergence = (jnp.exp(clean) * (clean - jax.nn.log_softmax(logits))).sum(-1)
    return _mean(divergence, batch)


def cross_entropy(logits: Logits, batch: ContrastBatch) -> Float[Array, ""]:
    """Cross entropy with the labels, in nats."""
    labels = _labels(logits, batch, "cross_entropy")
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return _mean(losses, batch)


def logit_difference(logits: Logits, batch: ContrastBatch) -> Float[Array, ""]:
    """The logit of the foil (by default the largest wrong one) minus that of the right label."""
    labels = _labels(logits, batch, "logit_difference")
    right = jax.nn.one_hot(labels, logits.shape[-1], dtype=bool)
    if batch.foil is None:
        wrong = jnp.where(right, -jnp.inf, logits).max(-1)
    else:
        wrong = jnp.take_along_axis(logits, batch.foil[..., None], -1)[..., 0]
    return _mean(wrong - jnp.where(right, logits, 0.0).sum(-1), batch)


def squared_error_to_clean(logits: Logits, batch: ContrastBatch) -> Float[Array, ""]:
    """Squared distance to the unpatched model's output, mean over outputs."""
    return _mean(((logits - batch.clean_logits) ** 2).mean(-1), batch)


def squared_error(logits: Logits, batch: ContrastBatch) -> Float[Array, ""]:
    """Squared distance to the target values."""
    return _mean((logits[..., 0] - batch.target) ** 2, batch)


def absolute_error(logits: Logits, batch: ContrastBatch) -> Float[Array, ""]:
    """Absolute distance to the target values."""
    return _mean(jnp.abs(logits[..., 0] - batch.target), batch)


_FOR_LABELS: dict[str, Loss] = {
    "kl": kl_to_clean,
    "cross_entropy": cross_entropy,
    "logit_difference": logit_difference,
}
_FOR_VALUES: dict[str, Loss] = {
    "mse_to_clean": squared_error_to_clean,
    "mse": squared_error,
    "mae": absolute_error,
}


def named_loss(name: str, categorical: bool) -> Loss:
    """Looks up a loss by its name on the command line.

    Args:
      name: `kl`, `cross_entropy` or `logit_difference` for labels, `mse_to_clean`, `mse` or `mae`
        for values.
      categorical: whether the task has labels rather than values.

    Raises:
      ValueError: there is no loss of that name for such a task.
    """
    fitting = _FOR_LABELS if categorical else _FOR_VALUES
    if name not in fitting:
        kind = "labels" if categorical else "values"
        raise ValueError(f"unknown loss {name!r} for {kind}; known: {', '.join(fitting)}")
    return fitting[name]


def loss_to_target(categorical: bool) -> Loss:
    """The loss against the right answer: cross entropy, or absolute error for values."""
    return cross_entropy if categorical else absolute_error


def loss_to_clean(categorical: bool) -> Loss:
    """The loss against the unpatched model: KL divergence, or squared error for values."""
    return kl_to_clean if categorical else squared_error_to_clean


def _labels(logits: Logits, batch: ContrastBatch, loss: str) -> Int[Array, "batch pos"]:
    if not batch.categorical:
        raise ValueError(f"{loss} needs labels, which are integers; got {batch.target.dtype}")
    check_indices("target has label", batch.target, logits.shape[-1])
    return jnp.asarray(batch.target)


def _mean(values: Float[Array, "batch pos"], batch: ContrastBatch) -> Float[Array, ""]:
    return (values * batch.positions).sum() / batch.positions.sum()
