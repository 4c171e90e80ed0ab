"""Interventions as data: what to replace, and by what.

A patch is a pytree of arrays, so that many of them are one `vmap` over masks. A mask is 1 where the
source is used and 0 where the model runs on as it is; values between interpolate, and gradients
flow through. Resample, mean, zero and optimal ablation differ only in the source.
"""

from typing import NamedTuple

from jaxtyping import Array, Float


class NodePatch(NamedTuple):
    """Writer w becomes `out[w] + mask[w] * (source[w] - out[w])` for every reader after it.

    Attributes:
      mask: `[writer]`, or `[batch, writer]` for one intervention per row, or
        `[batch, pos, writer]` for one per row and position.
      source: what each writer is replaced by; same shape as the second result of `forward`. Where
        it has fewer rows it is repeated: `n` interventions on the same rows are one run of `n`
        times the rows with one source.
      detached: 1 at writers that let no gradient through to what they were made from.
    """

    mask: Float[Array, "*rows writer"]
    source: Float[Array, "rows pos writer d_model"]
    detached: Float[Array, " writer"] | None = None


class EdgePatch(NamedTuple):
    """Reader r sees `sum_w out[w] + mask[w, r] * (source[w] - out[w])`.

    Attributes:
      mask: `[writer, reader]`; entries that are no edges have no effect. `[writer, 1]` is the same
        for all readers, and cheaper.
      source: what each writer is replaced by; same shape as the second result of `forward`.
    """

    mask: Float[Array, "writer _"]
    source: Float[Array, "batch pos writer d_model"]


class Nudge(NamedTuple):
    """Reader r sees `sum_w weights[w, r] * difference[w]` on top of what it sees anyway.

    At weights 0 nothing changes, and the gradient with respect to them is what attribution asks
    for: the gradient at every reader times the difference of every writer.

    Attributes:
      weights: `[writer, reader]`; entries that are no edges have no effect.
      difference: of what each writer writes; same shape as the second result of `forward`.
    """

    weights: Float[Array, "writer reader"]
    difference: Float[Array, "batch pos writer d_model"]


Patch = NodePatch | EdgePatch
"""An intervention on whole nodes or on single edges."""
