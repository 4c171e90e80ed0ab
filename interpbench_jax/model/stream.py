"""The residual stream during one run: what was written so far, and what each reader sees of it."""

import functools

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from interpbench_jax.model.graph import Graph
from interpbench_jax.model.patch import EdgePatch, NodePatch, Patch


class ResidualStream:
    """Collects what is written and applies the patch; lives only while a run is traced.

    Arrays have features first and the batch last, as everywhere inside the model.
    """

    def __init__(
        self,
        graph: Graph,
        n_rows: int,
        patch: Patch | None,
        shift: Float[Array, "batch pos reader d_model"] | None = None,
    ) -> None:
        """An empty stream for so many rows; `shift` is added to what readers see."""
        self.graph = graph
        self._patch = patch
        self._shift = None if shift is None else shift.transpose(2, 3, 1, 0)
        self._written: list[Array] = []
        self._replacements: list[Array] = []
        self._sum = jnp.zeros(())
        # A mask that is the same for all readers changes the one sum that all of them see.
        self._alike = isinstance(patch, EdgePatch) and patch.mask.shape[1] == 1
        if patch is not None:
            self._source = patch.source.transpose(2, 3, 1, 0)
        if isinstance(patch, NodePatch):
            self._node_mask = _rows_last(patch.mask)
            # Split at once and repeated here, where the batch is last: the gradients of slices
            # would be padded and added, and repeating earlier would cost a transpose.
            ends = np.cumsum([group.sum() for group in graph.writer_groups])
            repeats = n_rows // len(patch.source)
            self._sources = [
                jnp.concatenate([part] * repeats, -1) for part in jnp.split(self._source, ends[:-1])
            ]

    def write(self, outputs: Float[Array, "writer d_model pos batch"]) -> None:
        """Takes what the next writers put into the stream."""
        start = sum(len(w) for w in self._written)
        here = slice(start, start + len(outputs))
        if isinstance(self._patch, NodePatch):
            if self._patch.detached is not None:
                closed = self._patch.detached[here, None, None, None] > 0
                outputs = jnp.where(closed, lax.stop_gradient(outputs), outputs)
            outputs += self._node_mask[here] * (self._sources[len(self._written)] - outputs)
        self._written.append(outputs)
        if isinstance(self._patch, EdgePatch):
            replacements = self._source[here] - outputs
            if self._alike:
                outputs = outputs + self._patch.mask[here, :, None, None] * replacements
            else:
                self._replacements.append(replacements)
        # Spelled out, the sum is computed where the patch is: a reduction would not fuse with it.
        self._sum += functools.reduce(jnp.add, list(outputs))

    def add_constant(self, bias: Float[Array, " d_model"]) -> None:
        """Adds what belongs to no writer and is never patched."""
        self._sum += bias[:, None, None]

    def read(self, readers: slice) -> Float[Array, "reader d_model pos batch"]:
        """What these readers see; a leading axis of 1 when all of them see the same."""
        seen = self._sum[None]
        if isinstance(self._patch, EdgePatch) and not self._alike:
            replacements = jnp.concatenate(self._replacements)
            mask = self._patch.mask[: len(replacements), readers]
            seen = seen + jnp.einsum("wr,wdpb->rdpb", mask, replacements)
        return seen if self._shift is None else seen + self._shift[readers]

    def writers(self) -> Float[Array, "writer d_model pos batch"]:
        """All that was written, patched where it was."""
        return jnp.concatenate(self._written)


def _rows_last(mask: Float[Array, "*rows writer"]) -> Float[Array, "writer 1 #pos #batch"]:
    """Brings a node mask from `[writer]`, `[batch, writer]` or `[batch, pos, writer]` in line."""
    if mask.ndim == 3:
        return mask.transpose(2, 1, 0)[:, None]
    return mask.T.reshape(mask.shape[-1], 1, 1, -1)
