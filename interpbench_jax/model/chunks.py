"""Many runs of a model, some at a time."""

from collections.abc import Callable
from typing import TypeVar

import jax
from jaxtyping import PyTree

Result = TypeVar("Result")


def map_chunks(function: Callable[[PyTree], Result], each: PyTree, *, chunk: int) -> Result:
    """`jax.lax.map` of so many at a time.

    One at a time is a loop, not a `vmap` over one: an axis of one is enough for XLA to lay out
    every matrix product anew, which makes runs on a CPU two to three times as slow.

    Args:
      function: of one entry.
      each: entries along the leading axis.
      chunk: how many run side by side (memory grows with it).
    """
    if chunk == 1:
        return jax.lax.map(function, each)
    return jax.lax.map(function, each, batch_size=chunk)
