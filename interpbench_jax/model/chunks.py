"""Many runs of a model, a chunk at a time."""

from collections.abc import Callable
from typing import TypeVar

import jax
from jaxtyping import Array, Float, PyTree

Result = TypeVar("Result")

# Approximate limit of numbers held by parallel runs: a gibibyte of float32.
_BUDGET = 2**28


def map_chunks(function: Callable[[PyTree], Result], each: PyTree, *, chunk: int) -> Result:
    """`jax.lax.map` over chunks of entries.

    A chunk of 1 is a loop, not a `vmap` over one entry: for an axis of length one XLA already
    changes the layout of every matrix product, which makes runs on a CPU 2 to 3 times slower.

    Args:
      function: applied to one entry.
      each: the entries, along the leading axis.
      chunk: how many entries run at once (memory grows with it).
    """
    if chunk == 1:
        return jax.lax.map(function, each)
    return jax.lax.map(function, each, batch_size=chunk)


def runs_at_once(
    logits: Float[Array, "row pos d_vocab_out"],
    written: Float[Array, "row pos writer d_model"] | None,
    *,
    parallel: int = 1,
) -> int:
    """The number of patched runs that run in parallel: on a CPU 1, since a loop is fastest there.

    Elsewhere, as many as memory allows. A run holds the writers' outputs, the weights of attention
    (at most one head per writer), and the logits.

    Args:
      logits: outputs of one run; only their shape matters.
      written: the writers' outputs in this run, of which only the shape matters; `None` if they do
        not fit into memory, and runs should not be parallel.
      parallel: how many models are patched at the same time, under a `vmap` outside.
    """
    if jax.default_backend() == "cpu" or written is None:
        return 1
    n_rows, n_positions, n_writers, _ = written.shape
    attention = n_rows * n_positions**2 * n_writers
    return max(1, _BUDGET // (parallel * (written.size + attention + logits.size)))
