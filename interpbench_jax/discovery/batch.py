"""What discovery works on: inputs, and what writers write instead when they are ablated."""

from collections.abc import Callable
from typing import NamedTuple

from jaxtyping import Array, Float, Int, Num


class ContrastBatch(NamedTuple):
    """Inputs, and what writers write instead when they are ablated.

    Where what all writers write on all inputs is too much to hold, `written` is `None`, and
    `source` is one for all rows, or `None`, too. Functions in `discovery.rows` compute both for
    some rows at a time.

    Attributes:
      clean: token ids.
      corrupted: token ids of the inputs that patches come from, row by row, if there are any.
      target: what is right on the clean inputs: labels, or values for a regression.
      clean_logits: what the unpatched model says on the clean inputs.
      positions: weight of each position in the loss.
      written: what every writer writes on the clean inputs.
      source: what ablation replaces that by, row by row: what it writes on a corrupted input, or a
        mean, or nothing; see `contrast_batch`.
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


Loss = Callable[[Float[Array, "batch pos d_vocab_out"], ContrastBatch], Float[Array, ""]]
"""`(logits, batch) -> scalar`, lower is better; a module-level function, so that it can be a static
argument of `jit`."""
