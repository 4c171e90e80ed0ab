"""Normalisation of what is read from the residual stream."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from interpbench_jax.model.backward import DERIVATIVE, Backward

Vectors = Float[Array, "*others d pos batch"]


def layer_norm(
    x: Vectors,
    scale: Float[Array, " d"],
    shift: Float[Array, " d"],
    eps: float,
    backward: Backward = DERIVATIVE,
) -> Vectors:
    """Brings every vector to mean 0 and variance 1, then scales and shifts it."""
    x = x - x.mean(-3, keepdims=True)
    x = x / backward.norm(root_mean_square(x, eps))
    return x * _fit(scale, x) + _fit(shift, x)


def rms_norm(
    x: Vectors, scale: Float[Array, " d"], eps: float, backward: Backward = DERIVATIVE
) -> Vectors:
    """Brings every vector to mean square 1, then scales it.

    Source: Zhang and Sennrich 2019, Root Mean Square Layer Normalization.
    """
    return x / backward.norm(root_mean_square(x, eps)) * _fit(scale, x)


def root_mean_square(x: Vectors, eps: float) -> Float[Array, "*others 1 pos batch"]:
    """What every vector is divided by."""
    return jnp.sqrt((x * x).mean(-3, keepdims=True) + eps)


def _fit(weight: Float[Array, " d"], x: Vectors) -> Array:
    return weight.reshape((1,) * (x.ndim - 3) + (len(weight), 1, 1))
