"""The data for discovery: inputs, and the writers' replacements under ablation."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Num


class ContrastBatch(NamedTuple):
    """Inputs, and the writers' replacements under ablation.

    If the outputs of all writers on all inputs do not fit into memory, `written` is `None`, and
    `source` is a single one for all rows or `None` too. Functions in `discovery.rows` then compute
    both for a chunk of rows at a time.

    Attributes:
      clean: token ids.
      corrupted: token ids of the inputs that patches come from, row by row, if any.
      target: the right answers on the clean inputs: labels, or values for a regression.
      clean_logits: logits of the unpatched model on the clean inputs.
      positions: weight of each position in the loss.
      written: outputs of every writer on the clean inputs.
      source: the replacement under ablation, row by row: the writer's output on a corrupted input,
        a mean, or zeros; see `contrast_batch`.
      foil: the wrong label that `logit_difference` compares the right one with; by default the
        wrong label with the largest logit.
    """

    clean: Int[Array, "batch pos"]
    corrupted: Int[Array, "batch pos"] | None
    target: Num[Array, "batch pos"]
    clean_logits: Float[Array, "batch pos d_vocab_out"]
    positions: Float[Array, "batch pos"]
    written: Float[Array, "batch pos writer d_model"] | None
    source: Float[Array, "#batch #pos writer d_model"] | None
    foil: Int[Array, "batch pos"] | None = None

    @property
    def categorical(self) -> bool:
        """Whether answers are labels rather than values."""
        return bool(jnp.issubdtype(self.target.dtype, jnp.integer))


Loss = Callable[[Float[Array, "batch pos d_vocab_out"], ContrastBatch], Float[Array, ""]]
"""`(logits, batch) -> scalar`, lower is better; a module-level function, so that it can be a static
argument of `jit`."""
