"""What indexes must exist, and what is paired must fit: checked once, where it enters.

Lookups in JAX take the nearest entry, or zeros, instead of a missing one, and say nothing. Values
are looked at outside of `jit` only; while a function is traced there are none yet.
"""

import jax
import numpy as np
from jaxtyping import Array, Int

Indices = Int[Array | np.ndarray, "..."]


def check_indices(kind: str, indices: Indices, n: int) -> None:
    """Checks that indices lie between 0 and `n - 1`.

    Args:
      kind: what the message calls one of them, such as `clean has token`.
      indices: an array of them.
      n: how many there are to choose from.

    Raises:
      ValueError: they are no integers, or one is out of range.
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
    """Checks that sequences are as long, row by row, as those they are paired with.

    A patch from a shorter one would put in what was written at padding.

    Args:
      name: what the message calls the sequences.
      tokens: the sequences.
      like: those they are paired with, of the same shape.
      pad: the token that fills up shorter ones; `None` where all have one length.

    Raises:
      ValueError: a row has padding where the other has none.
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
