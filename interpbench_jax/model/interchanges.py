"""Residual streams for interchange interventions: several patched runs as one.

Heads are patched before their output maps, where they are narrow and the maps of a layer are one
product. By linearity the result is the same.
"""

from collections.abc import Iterable

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from interpbench_jax.model.columns import columnwise
from interpbench_jax.model.graph import TransformerGraph
from interpbench_jax.model.stream import Blocks, Stream

Values = Float[Array, "_ _ _ _"]
"""Writers' values, `[writer, feature, pos, pair]`: `d_head` features for heads, else `d_model`."""


class SumStream(Stream):
    """A stream in which all readers see the same sum."""

    _sum: Array  # everything written so far; subclasses start it at zero

    def read(self, readers: slice) -> Blocks:
        """What all readers see."""
        del readers
        return (self._sum[None],)

    def read_last(self) -> Float[Array, "d_model pos batch"]:
        """What the unembedding sees, like all readers."""
        return self._sum


class SourceStream(SumStream):
    """Collects the values of nodes on the source, to be patched into runs on the base.

    No gradient flows back, except into the output maps of MLPs: the original patches MLPs between
    activation and output map.
    """

    def __init__(self, graph: TransformerGraph) -> None:
        """An empty stream."""
        self.graph = graph
        self.values: list[Values] = []
        self._sum = jnp.zeros(())

    def write_input(self, embedded: Float[Array, "d_model pos batch"]) -> None:
        """Takes the embedded tokens."""
        self._sum += self._keep(lax.stop_gradient(embedded)[None])[0]

    def write_heads(
        self,
        z: Float[Array, "head d_head pos batch"],
        weight: Float[Array, "head d_head d_model"],
        bias: Float[Array, " d_model"],
    ) -> None:
        """Takes what a layer's heads write, and a bias that belongs to no head."""
        z = self._keep(lax.stop_gradient(z))
        self._sum += _sum_of_heads(z, weight) + bias[:, None, None]

    def write_mlp(
        self,
        hidden: Float[Array, "d_mlp pos batch"],
        weight: Float[Array, "d_mlp d_model"],
        bias: Float[Array, " d_model"],
    ) -> None:
        """Takes what an MLP writes."""
        outputs = columnwise("md,mn->dn", weight, lax.stop_gradient(hidden)) + bias[:, None, None]
        self._sum += self._keep(outputs[None])[0]

    def _keep(self, values: Values) -> Values:
        self.values.append(values)
        return values


class InterchangeStream(SumStream):
    """Runs several interventions on the base as one; exists only during tracing.

    Rows come in blocks of one row per pair, one block for each intervention. If the values to patch
    in are not given, the sources are run as an additional first block, and gradients flow into it.
    """

    def __init__(
        self,
        graph: TransformerGraph,
        masks: Float[Array, "intervention _ writer"],
        detached: Float[Array, " writer"] | None = None,
        *,
        given: Iterable[Values] | None = None,
    ) -> None:
        """An empty stream; arguments as for `forward_interchanges`."""
        self.graph, self._detached = graph, detached
        self._given = None if given is None else iter(given)
        if given is None:
            masks = jnp.concatenate([jnp.zeros_like(masks[:1]), masks])  # the sources run unpatched
        self._masks = masks.transpose(2, 0, 1)[:, None, None]
        self._sum = jnp.zeros(())
        self._n_written = 0

    def write_input(self, embedded: Float[Array, "d_model pos batch"]) -> None:
        """Takes the embedded tokens."""
        self._write_outputs(embedded)

    def write_heads(
        self,
        z: Float[Array, "head d_head pos batch"],
        weight: Float[Array, "head d_head d_model"],
        bias: Float[Array, " d_model"],
    ) -> None:
        """Takes what a layer's heads write, and a bias that belongs to no head."""
        weight = self._let_through(weight, slice(self._n_written, self._n_written + len(z)))
        own, sources, masks = self._parts(z)
        if self._given is None:
            self._sum += _sum_of_heads(own + masks * (sources - own), weight)
        else:  # values of heads are given after the output maps
            self._sum += _sum_of_heads((1 - masks) * own, weight)
            self._sum += _sum_of_heads(masks * sources, lax.stop_gradient(weight))
        self._sum += bias[:, None, None]

    def write_mlp(
        self,
        hidden: Float[Array, "d_mlp pos batch"],
        weight: Float[Array, "d_mlp d_model"],
        bias: Float[Array, " d_model"],
    ) -> None:
        """Takes what an MLP writes."""
        self._write_outputs(columnwise("md,mn->dn", weight, hidden) + bias[:, None, None])

    def _write_outputs(self, outputs: Float[Array, "d_model pos batch"]) -> None:
        own, sources, masks = self._parts(outputs[None])
        self._sum += (own + masks * (sources - own)).reshape(outputs.shape)

    def _parts(self, values: Float[Array, "writer feature pos batch"]) -> tuple[Array, ...]:
        """In blocks: the next writers' values, their replacements, and the mask of the patch."""
        writers = slice(self._n_written, self._n_written + len(values))
        self._n_written = writers.stop
        own = self._let_through(self._in_blocks(values), writers)
        if self._given is None:
            sources = own[..., :1, :]
        else:
            sources = self._let_through(next(self._given)[..., None, :], writers)
        return own, sources, self._masks[writers]

    def _let_through(
        self, values: Float[Array, "writer ..."], writers: slice
    ) -> Float[Array, "writer ..."]:
        """The same values, without gradient at detached nodes."""
        if self._detached is None:
            return values
        closed = self._detached[writers].reshape(-1, *[1] * (values.ndim - 1)) > 0
        return jnp.where(closed, lax.stop_gradient(values), values)

    def _in_blocks(self, values: Float[Array, "... batch"]) -> Float[Array, "... block pair"]:
        return values.reshape(*values.shape[:-1], self._masks.shape[-2], -1)


def _sum_of_heads(
    z: Float[Array, "head d_head pos *rows"], weight: Float[Array, "head d_head d_model"]
) -> Float[Array, "d_model pos batch"]:
    """The sum of what all heads write, as one product."""
    n_heads, d_head, pos = z.shape[:3]
    maps = weight.reshape(n_heads * d_head, -1)
    return columnwise("fd,fn->dn", maps, z.reshape(len(maps), pos, -1))
