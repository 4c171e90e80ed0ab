"""The residual stream during one run: what has been written, and what each reader sees."""

import abc
import functools
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from interpbench_jax.model.columns import columnwise
from interpbench_jax.model.graph import TransformerGraph
from interpbench_jax.model.patch import EdgePatch, NodePatch, Nudge, Patch

Blocks = tuple[Float[Array, "_ d_model pos _"], ...]
"""What readers see, `[reader, d_model, pos, row]`, in blocks of rows that follow each other; the
leading axis is 1 in a block in which all readers see the same."""


def in_one_block(blocks: Blocks) -> Float[Array, "reader d_model pos batch"]:
    """What readers see, as one array."""
    n_readers = max(len(block) for block in blocks)
    wide = [jnp.broadcast_to(block, (n_readers, *block.shape[1:])) for block in blocks]
    return jnp.concatenate(wide, -1)


@runtime_checkable
class Stream(Protocol):
    """The interface that a run writes to and reads from; it applies interventions.

    Arrays have features first and the batch last, as everywhere inside the model. Heads and MLPs
    pass the inputs of their output maps and the maps, since an intervention may be cheaper before
    the map.
    """

    graph: TransformerGraph

    def write_input(self, embedded: Float[Array, "d_model pos batch"]) -> None:
        """Takes the embedded tokens."""
        ...

    def write_heads(
        self,
        z: Float[Array, "head d_head pos batch"],
        weight: Float[Array, "head d_head d_model"],
        bias: Float[Array, " d_model"],
    ) -> None:
        """Takes what a layer's heads write, and a bias that belongs to no head."""
        ...

    def write_mlp(
        self,
        hidden: Float[Array, "d_mlp pos batch"],
        weight: Float[Array, "d_mlp d_model"],
        bias: Float[Array, " d_model"],
    ) -> None:
        """Takes what an MLP writes."""
        ...

    def read(self, readers: slice) -> Blocks:
        """What these readers see."""
        ...

    def read_last(self) -> Float[Array, "d_model pos batch"]:
        """What the unembedding sees."""
        ...


class OutputStream(Stream):
    """A stream whose interventions take what writers write, after their output maps."""

    _sum: Array  # everything written so far; subclasses start it at zero

    @abc.abstractmethod
    def write(self, outputs: Float[Array, "writer d_model pos batch"]) -> None:
        """Takes what the next writers put into the stream."""

    def write_input(self, embedded: Float[Array, "d_model pos batch"]) -> None:
        """Takes the embedded tokens."""
        self.write(embedded[None])

    def write_heads(
        self,
        z: Float[Array, "head d_head pos batch"],
        weight: Float[Array, "head d_head d_model"],
        bias: Float[Array, " d_model"],
    ) -> None:
        """Takes what a layer's heads write, and a bias that belongs to no head."""
        self.write(columnwise("hed,hen->hdn", weight, z))
        self.add_constant(bias)

    def write_mlp(
        self,
        hidden: Float[Array, "d_mlp pos batch"],
        weight: Float[Array, "d_mlp d_model"],
        bias: Float[Array, " d_model"],
    ) -> None:
        """Takes what an MLP writes."""
        self.write((columnwise("md,mn->dn", weight, hidden) + bias[:, None, None])[None])

    def add_constant(self, bias: Float[Array, " d_model"]) -> None:
        """Adds a bias that belongs to no writer and is never patched."""
        self._sum += bias[:, None, None]

    def read_last(self) -> Float[Array, "d_model pos batch"]:
        """What the unembedding sees."""
        return in_one_block(self.read(slice(self.graph.n_readers - 1, self.graph.n_readers)))[0]


class ResidualStream(OutputStream):
    """Collects what is written and applies the patch; exists only while a run is traced."""

    def __init__(
        self,
        graph: TransformerGraph,
        n_rows: int,
        patch: Patch | None = None,
        nudges: Sequence[Nudge] = (),
        *,
        once: bool = False,
    ) -> None:
        """An empty stream for `n_rows` rows; with `once`, only the first readers see the patch."""
        self.graph = graph
        self._patch = patch
        self._nudges, self._once = nudges, once
        self._written: list[Array] = []
        self._replacements: list[Array] = []
        self._sum = jnp.zeros(())
        # A mask that is the same for all readers is applied once, to the sum that all of them see.
        self._alike = isinstance(patch, EdgePatch) and patch.mask.shape[1] == 1
        if patch is not None:
            self._source = patch.source.transpose(2, 3, 1, 0)
        if isinstance(patch, NodePatch):
            self._node_mask = _rows_last(patch.mask)
            # One split instead of slices, whose gradients would be padded and added. Rows are
            # repeated here, where the batch is last; doing so earlier would cost a transpose.
            ends = np.cumsum(graph.writes)
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
            if self._patch.patched_at is not None:
                replacements *= self._patch.patched_at.T[None, None]
            if self._alike:
                outputs = outputs + self._patch.mask[here, :, None, None] * replacements
            else:
                self._replacements.append(replacements)
        # XLA fuses an unrolled sum with the patch; it would not fuse a reduction.
        self._sum += functools.reduce(jnp.add, list(outputs))

    def read(self, readers: slice) -> Blocks:
        """What these readers see."""
        seen = self._sum[None]
        n_written = sum(len(w) for w in self._written)
        mixed = []
        if isinstance(self._patch, EdgePatch) and not self._alike:
            mixed.append((self._patch.mask[:n_written, readers], self._replacements))
        for nudge in self._nudges:
            differences = [nudge.difference.transpose(2, 3, 1, 0)[:n_written]]
            mixed.append((nudge.weights[:n_written, readers], differences))
        if mixed:
            seen = _mixture(jnp.ones((1, readers.stop - readers.start)), [seen])
            seen += functools.reduce(jnp.add, [_mixture(*terms) for terms in mixed])
        if self._once:
            self._patch = None
        return (seen,)

    def writers(self) -> Float[Array, "writer d_model pos batch"]:
        """The outputs of all writers, after the patch."""
        return jnp.concatenate(self._written)


def _mixture(
    shares: Float[Array, "writer reader"], parts: list[Float[Array, "_ d_model pos batch"]]
) -> Float[Array, "reader d_model pos batch"]:
    """For each reader, the sum of the writers' outputs weighted by its shares.

    This is one plain matrix product. Sums over writers and readers would be several times slower,
    and so would the sums over three axes that gradients contain.
    """
    written = jnp.concatenate(parts)
    columns = written.reshape(len(written), -1)
    mixed = jnp.matmul(shares.T, columns, precision="highest")
    return mixed.reshape(-1, *written.shape[1:])


def _rows_last(mask: Float[Array, "*rows writer"]) -> Float[Array, "writer 1 #pos #batch"]:
    """Brings a mask `[writer]`, `[batch, writer]` or `[batch, pos, writer]` to the model's axes."""
    if mask.ndim == 3:
        return mask.transpose(2, 1, 0)[:, None]
    return mask.T.reshape(mask.shape[-1], 1, 1, -1)
