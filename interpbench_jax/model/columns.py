"""Linear maps of arrays that have positions and the batch last."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def columnwise(
    spec: str, weight: Array, x: Float[Array, "*features pos batch"], precision: str | None = None
) -> Float[Array, "*mapped pos batch"]:
    """Applies a linear map to every column, all positions and rows side by side.

    With two axes to sum over instead of one, XLA copies both factors of the weight's gradient into
    another order first, which takes longer than the product itself.

    Args:
      spec: of `einsum`; positions and batch are one axis there, the last.
      weight: the map.
      x: what it is applied to.
      precision: of the product; JAX's default if not given.
    """
    columns = x.reshape(*x.shape[:-2], -1)
    mapped = _product(spec, precision, weight, columns)
    return mapped.reshape(*mapped.shape[:-1], *x.shape[-2:])


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _product(spec: str, precision: str | None, weight: Array, x: Array) -> Array:
    return jnp.einsum(spec, weight, x, precision=precision)


def _product_forward(
    spec: str, precision: str | None, weight: Array, x: Array
) -> tuple[Array, tuple[Array, Array]]:
    return _product(spec, precision, weight, x), (weight, x)


def _product_backward(
    spec: str, precision: str | None, saved: tuple[Array, Array], d_out: Array
) -> tuple[Array, Array]:
    # JAX's own rule has the weight as the second factor, for which XLA copies the large one.
    weight, x = saved
    inputs, out = spec.split("->")
    of_weight, of_x = inputs.split(",")
    d_weight = jnp.einsum(f"{of_x},{out}->{of_weight}", x, d_out, precision=precision)
    d_x = jnp.einsum(f"{of_weight},{out}->{of_x}", weight, d_out, precision=precision)
    return d_weight, d_x


_product.defvjp(_product_forward, _product_backward)
