"""Backward passes that differ from the derivative, for attribution; runs forward stay the same."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.lax import stop_gradient
from jaxtyping import Array


@dataclass(frozen=True)
class Backward:
    """What a gradient takes for the derivative of some operations.

    Without arguments, it is the derivative.

    Attributes:
      constant_norms: whether the divisor of a normalisation counts as a constant.
      softmax_temperature: the derivative of attention's softmax is that of a softmax at this
        temperature, times the temperature.
      constant_attention: whether attention weights count as constants, so that no gradient reaches
        queries and keys.
      qkv_shares: the shares of the gradients that reach queries, keys and values.
      proportional_activations: whether an activation f counts as a multiplication by the constant
        f(x) / x.
      gate_share: the share of the gradient that reaches each of two hidden values that are
        multiplied, in MLPs with gates.

    Raises:
      ValueError: the temperature is not positive.
    """

    constant_norms: bool = False
    softmax_temperature: float = 1.0
    constant_attention: bool = False
    qkv_shares: tuple[float, float, float] = (1.0, 1.0, 1.0)
    proportional_activations: bool = False
    gate_share: float = 1.0

    def __post_init__(self) -> None:
        """Checks the temperature."""
        if not self.softmax_temperature > 0:
            raise ValueError(
                f"softmax_temperature must be positive, got {self.softmax_temperature}"
            )

    def norm(self, divisor: Array) -> Array:
        """The divisor of a normalisation."""
        return stop_gradient(divisor) if self.constant_norms else divisor

    def softmax(self, scores: Array, axis: int) -> Array:
        """Attention weights."""
        weights = jax.nn.softmax(scores, axis)
        if self.constant_attention:
            return stop_gradient(weights)
        if self.softmax_temperature == 1:
            return weights
        soft = jax.nn.softmax(scores / self.softmax_temperature, axis)
        return _with_gradient(weights, self.softmax_temperature * soft)

    def qkv(self, *projected: Array) -> tuple[Array, ...]:
        """Queries, keys and values."""
        return tuple(map(_with_share, projected, self.qkv_shares))

    def activation(self, function: Callable[[Array], Array], x: Array) -> Array:
        """An activation's values."""
        if not self.proportional_activations:
            return function(x)
        fixed = stop_gradient(x)
        ratio = jnp.where(fixed == 0, 0.0, function(fixed) / jnp.where(fixed == 0, 1.0, fixed))
        return _with_gradient(function(fixed), ratio * x)

    def gated(self, hidden: Array, gate: Array) -> Array:
        """The product of two hidden values."""
        return _with_share(hidden * gate, self.gate_share)


DERIVATIVE = Backward()
"""The true derivative."""


def _with_share(value: Array, share: float) -> Array:
    """The value, with a share of its gradient."""
    return value if share == 1 else _with_gradient(value, share * value)


@jax.custom_jvp
def _with_gradient(value: Array, other: Array) -> Array:
    """The value, with the gradient of something else."""
    del other
    return value


@_with_gradient.defjvp
def _gradient_of_other(at: tuple[Array, Array], along: tuple[Array, Array]) -> tuple[Array, Array]:
    return at[0], along[1]
