"""Padded vocabularies, so that models with different vocabularies share a compiled program."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from interpbench_jax.model.transformer import Params

NEVER = -1e9
"""Bias of a padding output: its probability and its gradient are exactly zero."""


def pad_vocabularies(
    params: Params, *, d_vocab: int, d_vocab_out: int, bias: float = NEVER
) -> Params:
    """Weights of a model with more tokens and outputs that computes the same.

    Added tokens occur in no input. Added outputs have zero weights.

    Args:
      params: weights of one model, or of several along leading axes.
      d_vocab: number of tokens of the result.
      d_vocab_out: number of outputs of the result.
      bias: bias of the added outputs.

    Raises:
      ValueError: the model has more tokens or outputs than that.
    """
    embed, unembed = params["embed"], params["unembed"]
    more_in = d_vocab - embed["W_E"].shape[-2]
    more_out = d_vocab_out - unembed["W_U"].shape[-1]
    if more_in < 0 or more_out < 0:
        raise ValueError(
            f"a model with {embed['W_E'].shape[-2]} tokens and {unembed['W_U'].shape[-1]} outputs "
            f"cannot be padded to {d_vocab} and {d_vocab_out}"
        )
    return {
        **params,
        "embed": {**embed, "W_E": _longer(embed["W_E"], more_in, axis=-2)},
        "unembed": {
            **unembed,
            "W_U": _longer(unembed["W_U"], more_out, axis=-1),
            "b_U": _longer(unembed["b_U"], more_out, axis=-1, value=bias),
        },
    }


def _longer(array: Array | np.ndarray, n: int, *, axis: int, value: float = 0.0) -> Array:
    widths = [(0, 0)] * array.ndim
    widths[axis] = (0, n)
    return jnp.pad(array, widths, constant_values=value)
