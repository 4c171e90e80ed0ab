"""One batch of edge-true training: rows of which each has a set of edges of its own patched."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Num

from interpbench_jax.model import Params, TransformerConfig
from interpbench_jax.model.network import Network, as_network
from interpbench_jax.siit.edge_sets import EdgeSets, draw_outside
from interpbench_jax.siit.losses import position_losses
from interpbench_jax.siit.mesh import own_pairs, sum_over_devices
from interpbench_jax.siit.step import take_step

# Of the rows in which only edges outside are patched, so many patch all of them; of the others, so
# many patch none.
_ALL_OUTSIDE, _NONE_OUTSIDE = 0.1, 0.3


class EdgeBatch(NamedTuple):
    """A batch of rows, each with a set of edges of its own.

    Attributes:
      base: inputs to run on.
      source: inputs from which patched edges take their values, and to run on as they are.
      masks: 1 at the edges that are patched.
      base_target: what the algorithm answers under the row's set.
      source_target: what the unpatched model shall say on the source.
      weights: of every position in each loss: behaviour, on the source; IIT and strict, on the
        base. Those of a loss sum to 1 over the batch.
    """

    base: Int[Array, "row pos"]
    source: Int[Array, "row pos"]
    masks: Float[Array, "row writer reader"]
    base_target: Num[Array, "row pos"]
    source_target: Num[Array, "row pos"]
    weights: Float[Array, "3 row pos"]


def draw_edge_batch(
    sets: EdgeSets, key: Array, *, batch_size: int, outside_rows: float, single_rows: float
) -> EdgeBatch:
    """Draws rows of three kinds.

    In the first only edges outside the circuit are patched; in the second also one group of the
    circuit's edges; in the third also any set of groups. Kinds alternate, so that equal parts of a
    batch have equally many of each.

    Args:
      sets: to draw from.
      key: a JAX random key.
      batch_size: number of rows.
      outside_rows: share of rows of the first kind.
      single_rows: share of rows of the second kind.
    """
    keys = jax.random.split(key, 5)
    n = (batch_size,)
    # Evenly spread places: each stretch of rows has its share of every kind.
    place = (jnp.arange(batch_size) * 0.6180339887) % 1
    only_outside, single = place < outside_rows, place >= 1 - single_rows
    drawn = jax.random.uniform(keys[0], n)
    one, several = (_pick(chances, drawn) for chances in (sets.single, sets.several))
    chosen = jnp.where(only_outside, 0, jnp.where(single, one, several))
    rows = chosen * sets.rows_per_set + jax.random.randint(keys[1], n, 0, sets.rows_per_set)
    extreme = jax.random.uniform(keys[2], n)
    share = jax.random.uniform(keys[3], n)
    share = jnp.where(only_outside & (extreme < _ALL_OUTSIDE), 1, share)
    share = jnp.where(~only_outside & (extreme < _NONE_OUTSIDE), 0, share)
    positions = sets.positions[rows]
    weights = jnp.stack(
        [
            sets.source_positions[rows],
            positions * ~only_outside[:, None],
            positions * only_outside[:, None],
        ]
    )
    return EdgeBatch(
        base=sets.base[rows],
        source=sets.source[rows],
        masks=sets.masks[chosen] + draw_outside(keys[4], sets.outside, share),
        base_target=sets.target[rows],
        source_target=sets.source_target[rows],
        weights=weights / jnp.maximum(weights.sum((1, 2), keepdims=True), 1e-9),
    )


def _pick(chances: Float[Array, " set"], drawn: Float[Array, " row"]) -> Int[Array, " row"]:
    """Sets by their chances, which need not sum to 1; sets added at the end change nothing."""
    ends = jnp.cumsum(chances)
    return jnp.searchsorted(ends, drawn * ends[-1], side="right")


def own_rows(batch: EdgeBatch) -> EdgeBatch:
    """A device's part of a batch, within a function that runs on every device of a mesh."""
    parts = {name: own_pairs(rows) for name, rows in batch._asdict().items() if name != "weights"}
    return EdgeBatch(**parts, weights=own_pairs(batch.weights, axis=1))


def update_by_edges(
    params: Params,
    optimizer_state: optax.OptState,
    batch: EdgeBatch,
    weights: Float[Array, "3"],
    learning_rate: Float[Array, ""],
    *,
    model: TransformerConfig | Network,
    optimizer: optax.GradientTransformation,
    divided: bool = False,
) -> tuple[Params, optax.OptState, Float[Array, "3"]]:
    """Takes one optimizer step on the weighted sum of the three losses.

    Args:
      params: weights.
      optimizer_state: of `optimizer`.
      batch: rows with their sets of edges.
      weights: of the behaviour, IIT and strict loss.
      learning_rate: of this batch.
      model: a transformer's shape, or another network.
      optimizer: gives directions, to be scaled by the learning rate.
      divided: whether every device of a mesh has a part of the batch of its own.

    Returns:
      New weights and optimizer state, and the three losses, unweighted, before the step.
    """

    def weighted(params: Params) -> tuple[Array, Array]:
        found = edge_losses(params, model, batch)
        return found @ weights, found

    gradient, losses = jax.grad(weighted, has_aux=True)(params)
    if divided:
        gradient, losses = sum_over_devices((gradient, losses))
    moved = take_step(params, optimizer_state, gradient, learning_rate, optimizer)
    return *moved, losses


def edge_losses(
    params: Params, model: TransformerConfig | Network, batch: EdgeBatch
) -> Float[Array, "3"]:
    """Behaviour, IIT and strict loss of a batch, by edges.

    Args:
      params: weights.
      model: a transformer's shape, or another network.
      batch: rows with their sets of edges.

    Returns:
      Behaviour: of the unpatched model on the sources; IIT: where edges of the circuit are patched;
      strict: where only others are.
    """
    on_source, on_base = as_network(model).run_edge_patches(
        params, batch.base, batch.source, batch.masks
    )
    behaviour, iit, strict = batch.weights
    patched = position_losses(on_base, batch.base_target)
    unpatched = position_losses(on_source, batch.source_target)
    return jnp.stack(
        [(unpatched * behaviour).sum(), (patched * iit).sum(), (patched * strict).sum()]
    )
