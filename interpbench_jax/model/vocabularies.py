"""Padded vocabularies, so that models with different vocabularies share a compiled program."""

from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

Tree = TypeVar("Tree")

NEVER = -1e9
"""Bias of a padding output: its probability and its gradient are exactly zero."""


def pad_vocabularies(weights: Tree, *, d_vocab: int, d_vocab_out: int, bias: float = NEVER) -> Tree:
    """Weights of a model with more tokens and outputs that computes the same.

    Added tokens occur in no input. Added outputs have zero weights.

    Args:
      weights: weights of one model, or of several along leading axes; or another tree with arrays
        of these shapes under the same names, such as an optimizer's moments.
      d_vocab: number of tokens of the result.
      d_vocab_out: number of outputs of the result.
      bias: bias of the added outputs.

    Raises:
      ValueError: the model has more tokens or outputs than that.
    """
    longer = {
        "W_E": (-2, d_vocab, 0.0),
        "W_U": (-1, d_vocab_out, 0.0),
        "b_U": (-1, d_vocab_out, bias),
    }

    def pad(path: tuple[Any, ...], array: Array | np.ndarray) -> Array | np.ndarray:
        name = getattr(path[-1], "key", None) if path else None
        return _longer(array, *longer[name]) if name in longer else array

    return jax.tree_util.tree_map_with_path(pad, weights)


def _longer(array: Array | np.ndarray, axis: int, size: int, value: float) -> Array:
    if (more := size - array.shape[axis]) < 0:
        raise ValueError(
            f"a model with {array.shape[axis]} {'tokens' if axis == -2 else 'outputs'} cannot be "
            f"padded to {size}"
        )
    widths = [(0, 0)] * array.ndim
    widths[axis] = (0, more)
    return jnp.pad(array, widths, constant_values=value)
