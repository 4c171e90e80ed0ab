"""One batch of edge-true training, in which every row has its own set of patched edges."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, Num

from interpbench_jax.model import Params, TransformerConfig
from interpbench_jax.model.network import Network, as_network
from interpbench_jax.siit.edge_sets import EdgeSets, draw_outside
from interpbench_jax.siit.losses import is_right, position_losses
from interpbench_jax.siit.mesh import own_pairs, sum_over_devices
from interpbench_jax.siit.step import IIT, STRICT, take_step

# Share of the rows with only outside edges that patch all of these; share of the other rows that
# patch none.
_ALL_OUTSIDE, _NONE_OUTSIDE = 0.1, 0.3
# The fewest rows of each set on which `wrong_by_set` judges a model.
_SURVEYED = 4


class EdgeBatch(NamedTuple):
    """A batch of rows, each with its own set of edges.

    Attributes:
      base: inputs to run on.
      source: inputs from which patched edges take their values; also run unpatched.
      masks: 1 at the edges that are patched.
      base_target: the algorithm's answers under the row's set.
      source_target: target outputs of the unpatched model on the source.
      weights: weight of every position in each loss: behaviour (on the source), IIT and strict (on
        the base). The weights of a loss sum to 1 over the batch.
      patched_at: 1 at the positions where the edges are patched; None means everywhere.
    """

    base: Int[Array, "row pos"]
    source: Int[Array, "row pos"]
    masks: Float[Array, "row writer reader"]
    base_target: Num[Array, "row pos"]
    source_target: Num[Array, "row pos"]
    weights: Float[Array, "3 row pos"]
    patched_at: Float[Array, "row pos"] | None = None


def draw_edge_batch(
    sets: EdgeSets, key: Array, *, batch_size: int, outside_rows: float, single_rows: float
) -> EdgeBatch:
    """Draws rows of three kinds.

    The first kind patches only edges outside the circuit, the second also one group of the
    circuit's edges, the third also any set of groups. The kinds alternate, so equal parts of a
    batch have the same number of rows of each.

    Args:
      sets: sets and pairs to draw from.
      key: a JAX random key.
      batch_size: number of rows.
      outside_rows: share of rows of the first kind.
      single_rows: share of rows of the second kind.
    """
    keys = jax.random.split(key, 5)
    n = (batch_size,)
    # A low-discrepancy sequence: consecutive rows have a fair share of every kind.
    place = (jnp.arange(batch_size) * 0.6180339887) % 1
    only_outside, single = place < outside_rows, place >= 1 - single_rows
    drawn = jax.random.uniform(keys[0], n)
    one, several = (_pick(chances, drawn) for chances in (sets.single, sets.several))
    chosen = jnp.where(only_outside, 0, jnp.where(single, one, several))
    return _rows_of(sets, keys[1:], chosen, only_outside)


def _rows_of(
    sets: EdgeSets, keys: Array, chosen: Int[Array, " row"], only_outside: Bool[Array, " row"]
) -> EdgeBatch:
    """Draws a row of each chosen set, and edges outside for it; `keys` are four."""
    n = chosen.shape
    rows = sets.first[chosen] + jax.random.randint(keys[0], n, 0, sets.n_rows[chosen])
    extreme = jax.random.uniform(keys[1], n)
    share = jax.random.uniform(keys[2], n)
    share = jnp.where(only_outside & (extreme < _ALL_OUTSIDE), 1, share)
    share = jnp.where(~only_outside & (extreme < _NONE_OUTSIDE), 0, share)
    position_weights = sets.position_weights[rows]
    weights = jnp.stack(
        [
            sets.source_position_weights[rows],
            position_weights * ~only_outside[:, None],
            position_weights * only_outside[:, None],
        ]
    )
    return EdgeBatch(
        base=sets.base[rows],
        source=sets.source[rows],
        masks=sets.masks[chosen] + draw_outside(keys[3], sets.outside, share),
        base_target=sets.target[rows],
        source_target=sets.source_target[rows],
        weights=weights / jnp.maximum(weights.sum((1, 2), keepdims=True), 1e-9),
        patched_at=None if sets.patched_at is None else sets.patched_at[rows],
    )


def wrong_by_set(
    params: Params,
    model: TransformerConfig | Network,
    sets: EdgeSets,
    key: Array,
    *,
    rows_at_once: int,
) -> Float[Array, " set"]:
    """Share of the positions with a wrong answer under each set, on a few rows of training.

    Args:
      params: weights.
      model: a transformer's shape, or another network.
      sets: sets and pairs to draw from; edges outside are drawn as in training.
      key: a JAX random key.
      rows_at_once: number of rows that are run together.
    """
    n_sets = len(sets.first)
    n_blocks = -(-n_sets * _SURVEYED // rows_at_once)
    network = as_network(model)

    def survey(given: tuple[Array, Array]) -> tuple[Array, Array]:
        key, chosen = given
        batch = _rows_of(sets, jax.random.split(key, 4), chosen, chosen == 0)
        _, logits = network.run_edge_patches(
            params, batch.base, batch.source, batch.masks, batch.patched_at
        )
        counts = (batch.weights[IIT] + batch.weights[STRICT]) > 0
        return (~is_right(logits, batch.base_target) & counts).sum(1), counts.sum(1)

    chosen = jnp.arange(n_blocks * rows_at_once).reshape(n_blocks, rows_at_once) % n_sets
    found = jax.lax.map(survey, (jax.random.split(key, n_blocks), chosen))
    wrong, counted = (jnp.bincount(chosen.reshape(-1), x.reshape(-1), length=n_sets) for x in found)
    return wrong / jnp.maximum(counted, 1)


def _pick(chances: Float[Array, " set"], drawn: Float[Array, " row"]) -> Int[Array, " row"]:
    """Picks sets by probabilities that need not sum to 1; padding with zeros changes nothing."""
    ends = jnp.cumsum(chances)
    return jnp.searchsorted(ends, drawn * ends[-1], side="right")


def own_rows(batch: EdgeBatch) -> EdgeBatch:
    """This device's part of a batch, inside a function that runs on every device of a mesh."""
    rows = {name: part for name, part in batch._asdict().items() if name != "weights"}
    return EdgeBatch(**jax.tree.map(own_pairs, rows), weights=own_pairs(batch.weights, axis=1))


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
      optimizer_state: state of `optimizer`.
      batch: rows with their sets of edges.
      weights: weights of the behaviour, IIT and strict loss.
      learning_rate: learning rate of this batch.
      model: a transformer's shape, or another network.
      optimizer: computes directions, which are scaled by the learning rate.
      divided: whether the batch is divided among the devices of a mesh.

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
    """Behaviour, IIT and strict loss of a batch under edge patches.

    Args:
      params: weights.
      model: a transformer's shape, or another network.
      batch: rows with their sets of edges.

    Returns:
      Behaviour: the unpatched model on the sources; IIT: rows in which edges of the circuit are
      patched; strict: rows in which only other edges are patched.
    """
    on_source, on_base = as_network(model).run_edge_patches(
        params, batch.base, batch.source, batch.masks, batch.patched_at
    )
    behaviour, iit, strict = batch.weights
    patched = position_losses(on_base, batch.base_target)
    unpatched = position_losses(on_source, batch.source_target)
    return jnp.stack(
        [(unpatched * behaviour).sum(), (patched * iit).sum(), (patched * strict).sum()]
    )
