"""The hard concrete distribution: masks that are often exactly 0 or 1 but have a gradient."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

_STRETCH = (-0.1, 1.1)
_TEMPERATURE = 2 / 3
# Distance from 0 and 1, where the logit of a uniform number is infinite.
_EDGE = 1e-6

INITIAL_LOGIT = math.log(0.9 / 0.1)
"""Initial logits of learnt masks: kept with probability 0.9 before stretching."""


def sample_hard_concrete(key: Array, logits: Float[Array, "*mask"]) -> Float[Array, "*mask"]:
    """Draws a mask: a stretched binary concrete number, clipped to 0 and 1.

    Args:
      key: a JAX random key.
      logits: logits of the probability of being kept.

    Source: Louizos et al. 2018, Learning Sparse Neural Networks through L0 Regularization.
    """
    uniform = jax.random.uniform(key, logits.shape, minval=_EDGE, maxval=1 - _EDGE)
    return _stretch(jax.nn.sigmoid((jax.scipy.special.logit(uniform) + logits) / _TEMPERATURE))


def keep_probability(logits: Float[Array, "*mask"]) -> Float[Array, "*mask"]:
    """The probability that an entry of the mask is not 0: its expected L0 norm."""
    low, high = _STRETCH
    return jax.nn.sigmoid(logits - _TEMPERATURE * math.log(-low / high))


def _stretch(values: Float[Array, "*mask"]) -> Float[Array, "*mask"]:
    low, high = _STRETCH
    return jnp.clip(values * (high - low) + low, 0.0, 1.0)
