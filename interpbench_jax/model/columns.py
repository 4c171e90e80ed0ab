"""Linear maps of arrays that have positions and the batch last."""

from jaxtyping import Array, Float

from interpbench_jax.model.bilinear import product


def columnwise(
    spec: str, weight: Array, x: Float[Array, "*features pos batch"]
) -> Float[Array, "*mapped pos batch"]:
    """Applies a linear map to every column, all positions and rows side by side.

    With two axes to sum over instead of one, XLA copies both factors of the weight's gradient into
    another order first, which takes longer than the product itself.

    Args:
      spec: of `einsum`; positions and batch are one axis there, the last.
      weight: the map.
      x: what it is applied to.
    """
    columns = x.reshape(*x.shape[:-2], -1)
    mapped = product(spec, weight, columns)
    return mapped.reshape(*mapped.shape[:-1], *x.shape[-2:])
