"""The activations that an MLP can have."""

import math
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array


@jax.custom_vjp
def _gelu(x: Array) -> Array:
    # By `erf`, in one pass: `jax.nn.gelu` goes by `erfc`, which costs twice as much on a CPU, and
    # keeps arrays for its gradient that are cheaper to compute anew.
    return x * _normal_cdf(x)


def _gelu_forward(x: Array) -> tuple[Array, Array]:
    return _gelu(x), x


def _gelu_backward(x: Array, d_out: Array) -> tuple[Array]:
    density = jnp.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
    return (d_out * (_normal_cdf(x) + x * density),)


def _normal_cdf(x: Array) -> Array:
    return 0.5 * (1 + jax.lax.erf(x * math.sqrt(0.5)))


_gelu.defvjp(_gelu_forward, _gelu_backward)

ACTIVATIONS: Mapping[str, Callable[[Array], Array]] = {
    "gelu": _gelu,
    "gelu_tanh": lambda x: jax.nn.gelu(x, approximate=True),
    "relu": jax.nn.relu,
}
"""By name: GELU in its exact form and in that of the hyperbolic tangent, and ReLU."""
