"""Automated circuit discovery: greedy removal of edges, every threshold in one call."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from interpbench_jax.discovery.objective import ContrastBatch, Loss, edge_masked_loss
from interpbench_jax.model import Graph, Params, TransformerConfig

THRESHOLDS = (0.0, *(float(t) for t in np.logspace(-5, 1, 19)))


def acdc(
    params: Params,
    config: TransformerConfig,
    batch: ContrastBatch,
    loss: Loss,
    *,
    thresholds: tuple[float, ...] = THRESHOLDS,
) -> Float[Array, "writer reader"]:
    """Ranks edges by the smallest threshold at which ACDC removes them.

    Args:
      params: weights.
      config: their shape.
      batch: clean and corrupted inputs.
      loss: `(logits, batch) -> scalar`; KL to the clean output in the paper.
      thresholds: ascending.

    Returns:
      That threshold per edge; infinity where none removes it, 0 where there is no edge.

    Raises:
      ValueError: thresholds are not ascending.

    Source: Conmy et al. 2023, Towards Automated Circuit Discovery.
    """
    if not thresholds or list(thresholds) != sorted(set(thresholds)):
        raise ValueError(f"thresholds must be ascending and distinct, got {thresholds}")
    levels = jnp.array(thresholds)
    kept = acdc_circuits(params, config, batch, loss, levels, removal_order(Graph.of(config)))
    smallest = jnp.where(kept, jnp.inf, levels[:, None, None]).min(0)
    return jnp.where(Graph.of(config).valid, smallest, 0.0)


def removal_order(graph: Graph) -> Int[np.ndarray, "edge 2"]:
    """The order in which edges are tried: last reader first, and of its writers the last first."""
    by_reader = np.lexsort((graph.edges[:, 0], graph.edges[:, 1]))
    return graph.edges[by_reader[::-1]]


class _State(NamedTuple):
    """Where every threshold stands: edges patched, loss accepted last, and whom it follows."""

    masks: Float[Array, "threshold writer reader"]
    accepted: Float[Array, " threshold"]
    leader: Int[Array, " threshold"]


@functools.partial(jax.jit, static_argnames=("config", "loss"))
def acdc_circuits(
    params: Params,
    config: TransformerConfig,
    batch: ContrastBatch,
    loss: Loss,
    thresholds: Float[Array, " threshold"],
    order: Int[Array | np.ndarray, "edge 2"],
) -> Bool[Array, "threshold writer reader"]:
    """Runs ACDC at every threshold: edges are patched one by one and stay so if it costs little.

    Args:
      params: weights.
      config: their shape.
      batch: clean and corrupted inputs.
      loss: `(logits, batch) -> scalar`.
      thresholds: an edge is removed if the loss rises by less, over the last accepted state.
      order: (writer, reader) indices in the order in which they are tried.

    Returns:
      Which edges are kept at each threshold.

    Source: Conmy et al. 2023; auto-circuit's form, which tries every edge.
    """
    masked_loss = edge_masked_loss(params, config, batch, loss)
    valid = jnp.asarray(Graph.of(config).valid)
    n = len(thresholds)
    everyone = jnp.arange(n)
    at_start = _State(
        masks=jnp.zeros((n, *valid.shape)),
        accepted=jnp.full(n, masked_loss(jnp.zeros(valid.shape))),
        leader=jnp.zeros(n, int),
    )

    def attempt(state: _State, edge: Int[Array, "2"]) -> tuple[_State, None]:
        tried = state.masks.at[:, edge[0], edge[1]].set(1.0)
        # Thresholds that have decided alike so far share one evaluation, made by their leader.
        by_leader = jax.lax.map(
            lambda t: jax.lax.cond(
                state.leader[t] == t, lambda: masked_loss(tried[t]), lambda: jnp.zeros(())
            ),
            everyone,
        )
        value = by_leader[state.leader]
        remove = value - state.accepted < thresholds
        alike = (state.leader[:, None] == state.leader[None]) & (remove[:, None] == remove[None])
        return _State(
            masks=jnp.where(remove[:, None, None], tried, state.masks),
            accepted=jnp.where(remove, value, state.accepted),
            leader=alike.argmax(1),  # the first that is alike
        ), None

    at_end, _ = jax.lax.scan(attempt, at_start, jnp.asarray(order))
    return (at_end.masks == 0) & valid[None]
