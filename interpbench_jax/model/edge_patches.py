"""Residual streams of runs under edge patches, where every row patches its own set of edges.

Sources and bases form one run with twice the rows, so an edge patch costs as many matrix products
as two plain runs. What a row's readers see is a sum over writers weighted by the row's mask. The
sum is unrolled into elementwise operations with the rows innermost, which stay in a CPU's cache if
there are few rows.
"""

import functools

import jax.numpy as jnp
from jaxtyping import Array, Float

from interpbench_jax.model.bilinear import product, spelled_out_product
from interpbench_jax.model.graph import TransformerGraph
from interpbench_jax.model.stream import Blocks, OutputStream


class EdgePatchStream(OutputStream):
    """Runs sources unpatched, and bases with edges patched from them; exists only during tracing.

    The rows are the sources, followed by the bases.
    """

    def __init__(
        self,
        graph: TransformerGraph,
        masks: Float[Array, "row writer reader"],
        patched_at: Float[Array, "row pos"] | None = None,
    ) -> None:
        """An empty stream; masks apply to the bases, and entries that are not edges are ignored."""
        self.graph = graph
        # A product with the identity is computed once. XLA would fuse a mere transpose, and with it
        # the drawing of random masks, into every sum over writers: each element would be drawn
        # again for every feature and position.
        self._masks = product("nwr,nm->wrm", masks, jnp.eye(len(masks)))
        self._patched_at = None if patched_at is None else patched_at.T[None, None]
        self._differences: list[Array] = []  # what is written on the source minus the base
        self._sum = jnp.zeros(())

    def write(self, outputs: Float[Array, "writer d_model pos batch"]) -> None:
        """Takes what the next writers put into the stream."""
        sources, bases = jnp.split(outputs, 2, axis=-1)
        difference = sources - bases
        self._differences.append(
            difference if self._patched_at is None else difference * self._patched_at
        )
        self._sum += functools.reduce(jnp.add, list(outputs))

    def read(self, readers: slice) -> Blocks:
        """What these readers see: the same on the sources, depending on the masks on the bases."""
        differences = jnp.concatenate(self._differences)
        masks = self._masks[: len(differences), readers]
        patched = spelled_out_product("wrn,wdpn->rdpn", masks, differences)
        sources, bases = jnp.split(self._sum, 2, axis=-1)
        return sources[None], bases[None] + patched
