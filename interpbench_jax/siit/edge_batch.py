"""One batch of edge-true training, in which every row has its own set of patched edges."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from interpbench_jax.siit.edge_sets import EdgeSets, draw_outside
from interpbench_jax.siit.mesh import own_pairs

# Share of the rows with only outside edges that patch all of these; share of the other rows that
# patch none.
_ALL_OUTSIDE, _NONE_OUTSIDE = 0.1, 0.3


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


class DrawnRows(NamedTuple):
    """Rows of `EdgeSets`, with edges outside that are patched too.

    Attributes:
      of_set: the set of each row.
      place: the index of each row among those of all sets.
      only_outside: whether only edges outside the circuit are patched.
      outside: the edges outside the circuit that are patched.
    """

    of_set: Int[Array, " row"]
    place: Int[Array, " row"]
    only_outside: Bool[Array, " row"]
    outside: Bool[Array, "row writer reader"]


class RowsAgain(NamedTuple):
    """Rows that are drawn again.

    Attributes:
      rows: the rows.
      chances: probability of each when one of them is drawn; they need not sum to 1.
      share: share of the rows of a batch that are drawn from them, unless all chances are 0.
    """

    rows: DrawnRows
    chances: Float[Array, " row"]
    share: Float[Array, ""]


def draw_edge_batch(
    sets: EdgeSets,
    key: Array,
    *,
    batch_size: int,
    outside_rows: float,
    single_rows: float,
    again: RowsAgain | None = None,
) -> EdgeBatch:
    """Draws a batch; see `draw_rows`.

    Args:
      sets: sets and pairs to draw from.
      key: a JAX random key.
      batch_size: number of rows.
      outside_rows: share of rows in which only edges outside the circuit are patched.
      single_rows: share of rows with one group of the circuit's edges.
      again: rows of which some take the place of others, whatever the kind of either.
    """
    kinds = {"outside_rows": outside_rows, "single_rows": single_rows}
    if again is None:
        return batch_of(sets, draw_rows(sets, key, batch_size=batch_size, **kinds))
    key, key_share, key_row = jax.random.split(key, 3)
    rows = draw_rows(sets, key, batch_size=batch_size, **kinds)
    share = jnp.where(again.chances.any(), again.share, 0.0)
    replaced = jax.random.uniform(key_share, (batch_size,)) < share
    chosen = _pick(again.chances, jax.random.uniform(key_row, (batch_size,)))

    def replace(new: Array, old: Array) -> Array:
        here = replaced.reshape(-1, *[1] * (new.ndim - 1))
        return jnp.where(here, old[chosen], new)

    return batch_of(sets, jax.tree.map(replace, rows, again.rows))


def draw_rows(
    sets: EdgeSets, key: Array, *, batch_size: int, outside_rows: float, single_rows: float
) -> DrawnRows:
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
    # A low-discrepancy sequence: consecutive rows have a fair share of every kind.
    place = (jnp.arange(batch_size) * 0.6180339887) % 1
    only_outside, single = place < outside_rows, place >= 1 - single_rows
    drawn = jax.random.uniform(keys[0], (batch_size,))
    one, several = (_pick(chances, drawn) for chances in (sets.single, sets.several))
    of_set = jnp.where(only_outside, 0, jnp.where(single, one, several))
    return rows_of(sets, keys[1:], of_set, only_outside)


def rows_of(
    sets: EdgeSets,
    keys: Array,
    of_set: Int[Array, " row"],
    only_outside: Bool[Array, " row"],
) -> DrawnRows:
    """Draws a row of each of the given sets, and edges outside for it.

    Args:
      sets: sets and pairs to draw from.
      keys: four JAX random keys.
      of_set: the set of each row.
      only_outside: whether only edges outside the circuit are patched.
    """
    n = of_set.shape
    place = sets.first[of_set] + jax.random.randint(keys[0], n, 0, sets.n_rows[of_set])
    extreme = jax.random.uniform(keys[1], n)
    share = jax.random.uniform(keys[2], n)
    share = jnp.where(only_outside & (extreme < _ALL_OUTSIDE), 1, share)
    share = jnp.where(~only_outside & (extreme < _NONE_OUTSIDE), 0, share)
    outside = draw_outside(keys[3], sets.outside, share) > 0
    return DrawnRows(of_set, place, only_outside, outside)


def batch_of(sets: EdgeSets, rows: DrawnRows) -> EdgeBatch:
    """The batch of given rows.

    Args:
      sets: sets and pairs that the rows are of.
      rows: the rows.
    """
    only_outside, position_weights = rows.only_outside, sets.position_weights[rows.place]
    weights = jnp.stack(
        [
            sets.source_position_weights[rows.place],
            position_weights * ~only_outside[:, None],
            position_weights * only_outside[:, None],
        ]
    )
    return EdgeBatch(
        base=sets.base[rows.place],
        source=sets.source[rows.place],
        masks=sets.masks[rows.of_set] + rows.outside,
        base_target=sets.target[rows.place],
        source_target=sets.source_target[rows.place],
        weights=weights / jnp.maximum(weights.sum((1, 2), keepdims=True), 1e-9),
        patched_at=None if sets.patched_at is None else sets.patched_at[rows.place],
    )


def own_rows(batch: EdgeBatch) -> EdgeBatch:
    """This device's part of a batch, inside a function that runs on every device of a mesh."""
    rows = {name: part for name, part in batch._asdict().items() if name != "weights"}
    return EdgeBatch(**jax.tree.map(own_pairs, rows), weights=own_pairs(batch.weights, axis=1))


def _pick(chances: Float[Array, " choice"], drawn: Float[Array, " row"]) -> Int[Array, " row"]:
    """Picks by probabilities that need not sum to 1; padding with zeros changes nothing."""
    ends = jnp.cumsum(chances)
    return jnp.searchsorted(ends, drawn * ends[-1], side="right")
