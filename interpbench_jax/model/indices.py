"""Checks of indices and of paired sequences, made once, where inputs enter the package.

A lookup in JAX silently returns the nearest entry or zeros if an index is out of range. Values are
checked outside of `jit` only; while a function is traced they are not known.
"""

import jax
import numpy as np
from jaxtyping import Array, Int

Indices = Int[Array | np.ndarray, "..."]


def check_indices(kind: str, indices: Indices, n: int) -> None:
    """Checks that indices lie between 0 and `n - 1`.

    Args:
      kind: how the message names an index, such as `clean has token`.
      indices: an array of indices.
      n: number of valid indices.

    Raises:
      ValueError: they are not integers, or one is out of range.
    """
    if not np.issubdtype(indices.dtype, np.integer):
        raise ValueError(f"{kind}s of type {indices.dtype}, expected integers")
    if isinstance(indices, jax.core.Tracer):
        return
    given = np.asarray(indices)
    unknown = given[(given < 0) | (given >= n)]
    if unknown.size:
        raise ValueError(f"{kind} {unknown[0]}, expected one of the {n} from 0")


def check_same_lengths(
    name: str, tokens: Int[Array | np.ndarray, "batch pos"], like: Indices, pad: int | None
) -> None:
    """Checks that paired sequences have the same length in every row.

    A patch from a shorter sequence would insert what was written at padding.

    Args:
      name: how the message names the sequences.
      tokens: the sequences.
      like: the sequences that they are paired with, of the same shape.
      pad: the token that pads shorter sequences; `None` if all have the same length.

    Raises:
      ValueError: a row has padding at a position where the other has none.
    """
    if pad is None or isinstance(tokens, jax.core.Tracer) or isinstance(like, jax.core.Tracer):
        return
    given, expected = np.asarray(tokens) == pad, np.asarray(like) == pad
    rows = np.flatnonzero((given != expected).any(1))
    if rows.size:
        lengths = (~given[rows[0]]).sum(), (~expected[rows[0]]).sum()
        raise ValueError(
            f"{name} has {lengths[0]} tokens in row {rows[0]}, expected padding after "
            f"{lengths[1]}, as in the row it is paired with"
        )
