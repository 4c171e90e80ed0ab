"""What discovery works on: pairs of inputs, and the loss as a function of an edge mask."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Num

from interpbench_jax.model import EdgePatch, Params, TransformerConfig, forward


class ContrastBatch(NamedTuple):
    """Pairs of inputs: the model is run on the clean one and patched from the corrupted one.

    Attributes:
      clean: token ids.
      corrupted: token ids of the input from which patches come, row by row.
      target: what is right on the clean input: labels, or values for a regression.
      clean_logits: what the unpatched model says on it.
      positions: weight of each position in the loss.
    """

    clean: Int[Array, "batch pos"]
    corrupted: Int[Array, "batch pos"]
    target: Num[Array, "batch pos"]
    clean_logits: Float[Array, "batch pos d_vocab_out"]
    positions: Float[Array, "batch pos"]


Loss = Callable[[Float[Array, "batch pos d_vocab_out"], ContrastBatch], Float[Array, ""]]
"""`(logits, batch) -> scalar`, lower is better; a module-level function, so that it can be a static
argument of `jit`."""

MaskedLoss = Callable[[Float[Array, "writer reader"]], Float[Array, ""]]


def contrast_batch(
    params: Params,
    config: TransformerConfig,
    clean: Int[Array, "batch pos"],
    corrupted: Int[Array, "batch pos"],
    target: Num[Array, "batch pos"],
    positions: Float[Array, "batch pos"],
) -> ContrastBatch:
    """Puts a batch together and runs the model on its clean inputs once.

    Raises:
      ValueError: shapes do not fit one another.
    """
    if clean.shape != corrupted.shape:
        raise ValueError(
            f"clean and corrupted inputs must have one shape, got {clean.shape} and "
            f"{corrupted.shape}"
        )
    for name, given in (("target", target), ("positions", positions)):
        if given.shape != clean.shape:
            raise ValueError(
                f"{name} has shape {given.shape}, expected that of clean: {clean.shape}"
            )
    clean_logits, _ = forward(params, config, clean)
    return ContrastBatch(clean, corrupted, target, clean_logits, jnp.asarray(positions))


def edge_masked_loss(
    params: Params, config: TransformerConfig, batch: ContrastBatch, loss: Loss
) -> MaskedLoss:
    """The loss as a function of an edge mask: 0 is the clean run, 1 patches from the corrupted.

    The corrupted run happens once, here.
    """
    _, source = forward(params, config, batch.corrupted)

    def masked(mask: Float[Array, "writer reader"]) -> Float[Array, ""]:
        logits, _ = forward(params, config, batch.clean, EdgePatch(mask, source))
        return loss(logits, batch)

    return masked
