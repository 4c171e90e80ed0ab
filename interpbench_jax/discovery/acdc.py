"""Automated circuit discovery (ACDC): greedy removal of edges, for all thresholds in one call."""

import functools
import itertools
import math
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from interpbench_jax.discovery.batch import ContrastBatch, Loss
from interpbench_jax.discovery.objective import EdgeLoss, loss_from
from interpbench_jax.model import Graph, Params, TransformerConfig
from interpbench_jax.model.chunks import map_chunks, runs_at_once
from interpbench_jax.model.network import Network, as_network

THRESHOLDS = (0.0, *(float(t) for t in np.logspace(-5, 1, 19)))
Order = Literal["last_writer_first", "first_writer_first"]


def acdc(
    params: Params,
    network: TransformerConfig | Network,
    batch: ContrastBatch,
    loss: Loss,
    *,
    thresholds: tuple[float, ...] = THRESHOLDS,
    order: Order = "last_writer_first",
) -> Float[Array, "writer reader"]:
    """Ranks edges by the smallest threshold at which ACDC removes them.

    Args:
      params: weights.
      network: a transformer's shape, or another network.
      batch: inputs and the source of patches.
      loss: `(logits, batch) -> scalar`; KL to the clean output in the paper.
      thresholds: thresholds in ascending order, at least 0.
      order: order of the writers of each reader; the last reader comes first.

    Returns:
      This threshold for each edge; infinity if no threshold removes it, 0 where there is no edge.
      NaN if the loss of a patched model is NaN.

    Raises:
      ValueError: thresholds are not ascending, negative or not finite, or the order is unknown.

    Source: Conmy et al. 2023, Towards Automated Circuit Discovery.
    """
    if not thresholds or list(thresholds) != sorted(set(thresholds)):
        raise ValueError(f"thresholds must be ascending and distinct, got {thresholds}")
    unfit = [level for level in thresholds if not (math.isfinite(level) and level >= 0)]
    if unfit:
        raise ValueError(f"thresholds must be finite and at least 0, got {unfit[0]}")
    graph = as_network(network).graph
    levels = jnp.array(thresholds)
    found = acdc_circuits(params, network, batch, loss, levels, removal_order(graph, order))
    smallest = jnp.where(found.kept, jnp.inf, levels[:, None, None]).min(0)
    smallest = jnp.where(jnp.isnan(found.loss).any(), jnp.nan, smallest)
    return jnp.where(graph.valid, smallest, 0.0)


def removal_order(graph: Graph, order: Order = "last_writer_first") -> Int[np.ndarray, "edge 2"]:
    """The order in which edges are tried: last reader first, its writers in the given order.

    Raises:
      ValueError: the order is unknown.
    """
    if order not in get_args(Order):
        raise ValueError(f"order must be one of {', '.join(get_args(Order))}, got {order!r}")
    writers, readers = graph.edges.T
    by_writer = writers if order == "first_writer_first" else -writers
    return graph.edges[np.lexsort((by_writer, -readers))]


class AcdcCircuits(NamedTuple):
    """What ACDC found at each threshold.

    Attributes:
      kept: the circuit.
      loss: loss with all other edges patched; NaN if any loss during the search is NaN.
      evaluations: number of required runs of the model. Thresholds with the same decisions so far
        share a run. An edge from which kept edges no longer lead to the logits needs no run, as the
        loss cannot change. (An accelerator still runs all thresholds in parallel.)
    """

    kept: Bool[Array, "threshold writer reader"]
    loss: Float[Array, " threshold"]
    evaluations: Int[Array, ""]


def acdc_circuits(
    params: Params,
    network: TransformerConfig | Network,
    batch: ContrastBatch,
    loss: Loss,
    thresholds: Float[Array, " threshold"],
    order: Int[np.ndarray, "edge 2"],
    *,
    reuse: bool = True,
) -> AcdcCircuits:
    """Runs ACDC at every threshold: patches edges one by one, and keeps patches that cost little.

    Args:
      params: weights.
      network: a transformer's shape, or another network.
      batch: inputs and the source of patches.
      loss: `(logits, batch) -> scalar`.
      thresholds: an edge is removed if the loss rises by less than this over the last accepted
        state.
      order: (writer, reader) indices in the order in which edges are tried.
      reuse: whether runs start at the first patched reader, as nothing before it changes; if not,
        every run is a full run.

    Source: Conmy et al. 2023, in auto-circuit's variant, which tries every edge.
    """
    stages = as_network(network).graph.stages[np.asarray(order)[:, 1]]
    first = np.minimum.accumulate(stages) if reuse else np.zeros_like(stages)
    parts = tuple((int(stage), len(list(run))) for stage, run in itertools.groupby(first))
    return _acdc(params, network, batch, loss, thresholds, jnp.asarray(order), parts)


class _State(NamedTuple):
    """State of every threshold: patched edges, last accepted loss, and the threshold it follows."""

    masks: Float[Array, "threshold writer reader"]
    accepted: Float[Array, " threshold"]
    leader: Int[Array, " threshold"]
    evaluations: Int[Array, ""]


@functools.partial(jax.jit, static_argnames=("network", "loss", "parts"))
def _acdc(
    params: Params,
    network: TransformerConfig | Network,
    batch: ContrastBatch,
    loss: Loss,
    thresholds: Float[Array, " threshold"],
    order: Int[Array, "edge 2"],
    parts: tuple[tuple[int, int], ...],
) -> AcdcCircuits:
    """ACDC over `order`; `parts` are (stage to start at, number of edges)."""
    graph = as_network(network).graph
    valid = jnp.asarray(graph.valid)
    n = len(thresholds)
    everyone = jnp.arange(n)
    at_once = runs_at_once(batch.clean_logits, batch.written)
    state = _State(
        masks=jnp.zeros((n, *valid.shape)),
        accepted=jnp.full(n, loss(batch.clean_logits, batch)),
        leader=jnp.zeros(n, int),
        evaluations=jnp.zeros((), int),
    )

    def attempt(stage: int, state: _State, edge: Int[Array, "2"]) -> tuple[_State, None]:
        masked_loss = loss_from(params, network, batch, loss, stage)
        tried = state.masks.at[:, edge[0], edge[1]].set(1.0)
        # Thresholds with the same decisions so far share one evaluation, made by their leader.
        leads = (state.leader == everyone) & matters(graph, state.masks == 0)[:, edge[1]]
        by_leader = _losses_where(leads, masked_loss, tried, state.accepted, at_once)
        value = by_leader[state.leader]
        remove = value - state.accepted < thresholds
        alike = (state.leader[:, None] == state.leader[None]) & (remove[:, None] == remove[None])
        return _State(
            masks=jnp.where(remove[:, None, None], tried, state.masks),
            accepted=jnp.where(remove | jnp.isnan(value), value, state.accepted),
            leader=alike.argmax(1),  # the first with equal decisions
            evaluations=state.evaluations + leads.sum(),
        ), None

    start = 0
    for stage, length in parts:
        edges = order[start : start + length]
        state, _ = jax.lax.scan(functools.partial(attempt, stage), state, edges)
        start += length
    return AcdcCircuits((state.masks == 0) & valid[None], state.accepted, state.evaluations)


def _losses_where(
    needed: Bool[Array, " threshold"],
    masked_loss: EdgeLoss,
    masks: Float[Array, "threshold writer reader"],
    otherwise: Float[Array, " threshold"],
    at_once: int,
) -> Float[Array, " threshold"]:
    """The losses that are needed; if runs are parallel, all losses as soon as one is needed."""
    if at_once == 1:
        return jax.lax.map(
            lambda t: jax.lax.cond(needed[t], lambda: masked_loss(masks[t]), lambda: otherwise[t]),
            jnp.arange(len(masks)),
        )

    def side_by_side() -> Float[Array, " threshold"]:
        values = map_chunks(masked_loss, masks, chunk=min(at_once, len(masks)))
        return jnp.where(needed, values, otherwise)

    return jax.lax.cond(needed.any(), side_by_side, lambda: otherwise)


def matters(
    graph: Graph, kept: Bool[Array, "threshold writer reader"]
) -> Bool[Array, "threshold reader"]:
    """Whether kept edges lead from a reader to the output.

    Args:
      graph: writers and readers; a reader whose node does not write counts as output.
      kept: the circuit at each threshold.
    """
    writes = graph.reader_writer >= 0
    own = np.where(writes, graph.reader_writer, 0)
    valid = jnp.asarray(graph.valid)[None]

    def back(_: Array | int, reached: Array) -> Array:
        onward = (kept & valid & reached[:, None, :]).any(2)  # writers that lead to the output
        return jnp.where(writes, onward[:, own], True)

    start = jnp.broadcast_to(jnp.asarray(~writes), (len(kept), len(graph.readers)))
    return jax.lax.fori_loop(0, int(graph.stages.max()), back, start)
