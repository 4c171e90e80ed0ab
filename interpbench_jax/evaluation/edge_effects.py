"""Edges that a compiled model uses: exact patching, one edge at a time."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from interpbench_jax.compiler import compiled_labels
from interpbench_jax.model import EdgePatch, Params, TransformerConfig
from interpbench_jax.model.chunks import map_chunks, runs_at_once
from interpbench_jax.model.network import Network, as_network
from interpbench_jax.siit import TOLERANCE


def edge_effects(
    params: Params,
    network: TransformerConfig | Network,
    base: Int[Array, "pair pos"],
    source: Int[Array, "pair pos"],
    edges: Int[np.ndarray, "edge 2"],
    *,
    categorical: bool,
) -> Float[Array, " edge"]:
    """Share of outputs after BOS that change when a single edge is patched from the source.

    Args:
      params: weights of a compiled model.
      network: a transformer's shape, or another network.
      base: inputs to run on.
      source: inputs from which the edges take their values.
      edges: (writer, reader) indices; q, k and v of a head are separate readers.
      categorical: whether outputs are labels rather than values.

    Returns:
      For each edge, the share of positions whose label changes, or whose value changes by more than
      0.05; an output with NaN counts as changed.
    """
    masks = np.zeros((len(edges), *as_network(network).graph.valid.shape), np.float32)
    masks[np.arange(len(edges)), edges[:, 0], edges[:, 1]] = 1
    return _effects(params, network, base, source, jnp.asarray(masks), categorical=categorical)


@functools.partial(jax.jit, static_argnames=("network", "categorical"))
def _effects(
    params: Params,
    network: TransformerConfig | Network,
    base: Int[Array, "pair pos"],
    source: Int[Array, "pair pos"],
    masks: Float[Array, "edge writer reader"],
    *,
    categorical: bool,
) -> Float[Array, " edge"]:
    clean, _ = as_network(network).run(params, base)
    _, written = as_network(network).run(params, source)

    def effect(mask: Float[Array, "writer reader"]) -> Float[Array, ""]:
        patched, _ = as_network(network).run(params, base, EdgePatch(mask, written))
        if categorical:
            changed = compiled_labels(patched) != compiled_labels(clean)
            changed |= jnp.isnan(patched).any(-1)
        else:
            changed = ~(jnp.abs(patched - clean)[..., 0] <= TOLERANCE)
        return changed[:, 1:].mean()

    return map_chunks(effect, masks, chunk=runs_at_once(clean, written))
