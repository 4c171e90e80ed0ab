"""Interventions as data: what to replace, and with what.

A patch is a pytree of arrays, so many patches are one `vmap` over masks. A mask is 1 where the
source replaces a value and 0 where the value is kept; values in between interpolate, and gradients
flow through. Resample, mean, zero and optimal ablation differ only in the source.
"""

from typing import NamedTuple

from jaxtyping import Array, Float


class NodePatch(NamedTuple):
    """Writer w becomes `out[w] + mask[w] * (source[w] - out[w])` for every reader after it.

    Attributes:
      mask: `[writer]`, or `[batch, writer]` for one intervention per row, or
        `[batch, pos, writer]` for one per row and position.
      source: the replacement of each writer; same shape as the second result of `forward`. If it
        has fewer rows, it is repeated: `n` interventions on the same rows are one run with `n`
        times the rows and a single source.
      detached: 1 at writers through which no gradient flows back.
    """

    mask: Float[Array, "*rows writer"]
    source: Float[Array, "rows pos writer d_model"]
    detached: Float[Array, " writer"] | None = None


class EdgePatch(NamedTuple):
    """Reader r sees `sum_w out[w] + mask[w, r] * (source[w] - out[w])`.

    Attributes:
      mask: `[writer, reader]`; entries that are not edges have no effect. `[writer, 1]` is one
        value for all readers, which is cheaper.
      source: the replacement of each writer; same shape as the second result of `forward`.
      patched_at: 1 at the positions where readers see replacements; everywhere by default.
    """

    mask: Float[Array, "writer _"]
    source: Float[Array, "batch pos writer d_model"]
    patched_at: Float[Array, "batch pos"] | None = None


class Nudge(NamedTuple):
    """Adds `sum_w weights[w, r] * difference[w]` to what reader r sees.

    At weights 0 nothing changes, and the gradient with respect to them is what attribution needs:
    the gradient at every reader times the difference of every writer.

    Attributes:
      weights: `[writer, reader]`; entries that are not edges have no effect.
      difference: a change of each writer's output; same shape as the second result of `forward`.
    """

    weights: Float[Array, "writer reader"]
    difference: Float[Array, "batch pos writer d_model"]


Patch = NodePatch | EdgePatch
"""An intervention on whole nodes or on single edges."""
