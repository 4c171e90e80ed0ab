"""Linear maps of arrays that have positions and the batch last."""

from jaxtyping import Array, Float

from interpbench_jax.model.bilinear import product


def columnwise(
    spec: str, weight: Array, x: Float[Array, "*features pos batch"]
) -> Float[Array, "*mapped pos batch"]:
    """Applies a linear map at every position of every row, as one product.

    Positions and batch are merged into one axis. If the weight's gradient summed over two axes, XLA
    would first copy both its factors into another order, which takes longer than the product.

    Args:
      spec: an `einsum` specification, in which positions and batch are one axis, the last.
      weight: the map.
      x: the array that it is applied to.
    """
    columns = x.reshape(*x.shape[:-2], -1)
    mapped = product(spec, weight, columns)
    return mapped.reshape(*mapped.shape[:-1], *x.shape[-2:])
