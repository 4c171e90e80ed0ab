"""The activations that an MLP can have."""

import math
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array


@jax.custom_jvp
def _gelu(x: Array) -> Array:
    # Uses `erf`, in one pass: `jax.nn.gelu` uses `erfc`, which takes twice as long on a CPU.
    return x * _normal_cdf(x)


@_gelu.defjvp
def _gelu_jvp(at: tuple[Array], along: tuple[Array]) -> tuple[Array, Array]:
    (x,), (d_x,) = at, along
    density = jnp.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
    return _gelu(x), d_x * (_normal_cdf(x) + x * density)


def _normal_cdf(x: Array) -> Array:
    return 0.5 * (1 + jax.lax.erf(x * math.sqrt(0.5)))


ACTIVATIONS: Mapping[str, Callable[[Array], Array]] = {
    "gelu": _gelu,
    "gelu_tanh": lambda x: jax.nn.gelu(x, approximate=True),
    "relu": jax.nn.relu,
    "silu": jax.nn.silu,
}
"""By name: exact GELU, its tanh approximation, ReLU and SiLU."""
