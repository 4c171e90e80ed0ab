"""Edge activation patching: the exact effect of every edge, patched alone."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from interpbench_jax.discovery.batch import ContrastBatch, Loss
from interpbench_jax.discovery.objective import loss_from
from interpbench_jax.model import Params, TransformerConfig
from interpbench_jax.model.chunks import map_chunks, runs_at_once
from interpbench_jax.model.network import Network, as_network


@functools.partial(jax.jit, static_argnames=("network", "loss"))
def edge_patching(
    params: Params, network: TransformerConfig | Network, batch: ContrastBatch, loss: Loss
) -> Float[Array, "writer reader"]:
    """How much the loss rises when a single edge is patched.

    Every run starts at the edge's reader, as nothing before it changes.

    Args:
      params: weights.
      network: a transformer's shape, or another network.
      batch: inputs and the source of patches.
      loss: `(logits, batch) -> scalar`.

    Returns:
      The exact rise: positive where patching hurts. 0 where there is no edge.

    Source: Wang et al. 2022, Interpretability in the Wild (path patching); "EActP" in MIB.
    """
    network = as_network(network)
    graph, stages = network.graph, network.graph.stages
    scores = jnp.zeros(graph.valid.shape)
    unpatched = loss(batch.clean_logits, batch)
    chunk = runs_at_once(batch.clean_logits, batch.written)
    for stage in range(int(stages.max()) + 1):
        edges = graph.edges[stages[graph.edges[:, 1]] == stage]
        masked = loss_from(params, network, batch, loss, stage, only_there=True)

        def effect(edge: Array, masked=masked) -> Float[Array, ""]:
            return masked(jnp.zeros(graph.valid.shape).at[edge[0], edge[1]].set(1.0))

        values = map_chunks(effect, jnp.asarray(edges), chunk=chunk)
        scores = scores.at[edges[:, 0], edges[:, 1]].set(values - unpatched)
    return scores
