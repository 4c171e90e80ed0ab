"""Patching for user-defined networks, so that discovery methods work on them."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from interpbench_jax.model.bilinear import product
from interpbench_jax.model.graph import Graph
from interpbench_jax.model.patch import EdgePatch, NodePatch, Nudge, Patch


class Wires:
    """What is written and read during one run of a network; exists only during tracing."""

    def __init__(
        self,
        graph: Graph,
        patch: Patch | None,
        nudge: Nudge | None = None,
    ) -> None:
        """Starts a run, in which nothing has been written yet."""
        self._graph, self._patch, self._nudge = graph, patch, nudge
        self._written: list[Array] = []

    def write(self, value: Float[Array, "batch pos d"]) -> None:
        """Takes what the next writer writes; a node patch replaces it."""
        if isinstance(self._patch, NodePatch):
            here = slice(len(self._written), len(self._written) + 1)
            value = patch_nodes(value[:, :, None], self._patch, start=here.start)[:, :, 0]
        self._written.append(value)

    def read(self, reader: str) -> Float[Array, "batch pos d"]:
        """What a reader sees: the sum of all writers before it, after an edge patch.

        Raises:
          ValueError: one of these writers has not written yet.
        """
        place = self._graph.readers.index(reader)
        before = self._graph.writers[: self._graph.n_before[place]]
        if len(self._written) < len(before):
            raise ValueError(f"{reader} reads before {before[len(self._written)]} has written")
        written = jnp.stack(self._written[: len(before)], 2)
        if isinstance(self._patch, EdgePatch):
            here = slice(0, written.shape[2])
            mask = jnp.broadcast_to(self._patch.mask, self._graph.valid.shape)[here, place]
            replacement = self._patch.source[:, :, here] - written
            if self._patch.patched_at is not None:
                replacement *= self._patch.patched_at[:, :, None, None]
            written = written + mask[None, None, :, None] * replacement
        seen = written.sum(2)
        if self._nudge is not None:
            weights, difference = self._nudge
            here = slice(0, written.shape[2])
            seen += product("w,bpwd->bpd", weights[here, place], difference[:, :, here])
        return seen

    def written(self) -> Float[Array, "batch pos writer d"]:
        """The outputs of all writers.

        Raises:
          ValueError: the number of outputs is not the number of writers.
        """
        if len(self._written) != len(self._graph.writers):
            raise ValueError(
                f"{len(self._written)} outputs were written, expected one for each writer: "
                f"{', '.join(self._graph.writers)}"
            )
        return jnp.stack(self._written, 2)


def patch_nodes(
    written: Float[Array, "batch pos writer d"], patch: Patch | None, *, start: int = 0
) -> Float[Array, "batch pos writer d"]:
    """Applies a node patch to what writers wrote.

    Args:
      written: the outputs of consecutive writers.
      patch: a patch of the whole network.
      start: index of the first of these writers.

    Raises:
      ValueError: the patch is an `EdgePatch`.
    """
    if patch is None:
        return written
    if not isinstance(patch, NodePatch):
        raise ValueError(f"only nodes can be patched here, got {type(patch).__name__}")
    here = slice(start, start + written.shape[2])
    mask = patch.mask[:, None] if patch.mask.ndim == 2 else patch.mask
    mask = mask.reshape(*[1] * (3 - mask.ndim), *mask.shape)[:, :, here, None]
    if patch.detached is not None:
        closed = patch.detached[None, None, here, None] > 0
        written = jnp.where(closed, jax.lax.stop_gradient(written), written)
    repeats = len(written) // len(patch.source)
    source = jnp.tile(patch.source[:, :, here], (repeats, 1, 1, 1))
    return written + mask * (source - written)
