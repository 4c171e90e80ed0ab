"""Room for more tokens and outputs than a model has, so that models share a compiled program."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from interpbench_jax.model.transformer import Params

NEVER = -1e9
"""Bias of an output that does not exist: its probability and its gradient are exactly zero."""


def pad_vocabularies(
    params: Params, *, d_vocab: int, d_vocab_out: int, bias: float = NEVER
) -> Params:
    """Weights of a model with more tokens and outputs, which says the same.

    Tokens that are added occur in no input. Outputs that are added have weights of zero.

    Args:
      params: weights of one model, or of several along leading axes.
      d_vocab: number of tokens in the end.
      d_vocab_out: number of outputs in the end.
      bias: of the outputs that are added.

    Raises:
      ValueError: the model has more tokens or outputs than that.
    """
    embed, unembed = params["embed"], params["unembed"]
    more_in = d_vocab - embed["W_E"].shape[-2]
    more_out = d_vocab_out - unembed["W_U"].shape[-1]
    if more_in < 0 or more_out < 0:
        raise ValueError(
            f"a model with {embed['W_E'].shape[-2]} tokens and {unembed['W_U'].shape[-1]} outputs "
            f"cannot have {d_vocab} and {d_vocab_out}"
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
