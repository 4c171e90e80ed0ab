"""Rows of training on which a model is wrong, and the sets that they are of."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from interpbench_jax.model import Params, TransformerConfig
from interpbench_jax.model.network import Network, as_network
from interpbench_jax.siit.edge_batch import DrawnRows, EdgeBatch, batch_of, draw_rows, rows_of
from interpbench_jax.siit.edge_sets import EdgeSets
from interpbench_jax.siit.losses import is_right
from interpbench_jax.siit.step import IIT, STRICT

# The fewest rows of each set on which `wrong_by_set` judges a model.
_OF_EACH_SET = 4


def wrong_by_row(
    params: Params,
    model: TransformerConfig | Network,
    sets: EdgeSets,
    key: Array,
    *,
    n_batches: int,
    batch_size: int,
    outside_rows: float,
    single_rows: float,
) -> tuple[DrawnRows, Float[Array, " row"]]:
    """Draws rows as training does, and the share of their positions with a wrong answer.

    Args:
      params: weights.
      model: a transformer's shape, or another network.
      sets: sets and pairs to draw from.
      key: a JAX random key.
      n_batches: number of batches to draw.
      batch_size: number of rows of each.
      outside_rows: share of rows in which only edges outside the circuit are patched.
      single_rows: share of rows with one group of the circuit's edges.
    """

    def survey(key: Array) -> tuple[DrawnRows, Array]:
        rows = draw_rows(
            sets, key, batch_size=batch_size, outside_rows=outside_rows, single_rows=single_rows
        )
        wrong, counted = _wrong_positions(params, model, batch_of(sets, rows))
        return rows, wrong / jnp.maximum(counted, 1)

    found = jax.lax.map(survey, jax.random.split(key, n_batches))
    return jax.tree.map(lambda part: part.reshape(-1, *part.shape[2:]), found)


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
    n_blocks = -(-n_sets * _OF_EACH_SET // rows_at_once)

    def survey(given: tuple[Array, Array]) -> tuple[Array, Array]:
        key, of_set = given
        rows = rows_of(sets, jax.random.split(key, 4), of_set, of_set == 0)
        return _wrong_positions(params, model, batch_of(sets, rows))

    of_set = jnp.arange(n_blocks * rows_at_once).reshape(n_blocks, rows_at_once) % n_sets
    found = jax.lax.map(survey, (jax.random.split(key, n_blocks), of_set))
    wrong, counted = (jnp.bincount(of_set.reshape(-1), x.reshape(-1), length=n_sets) for x in found)
    return wrong / jnp.maximum(counted, 1)


def _wrong_positions(
    params: Params, model: TransformerConfig | Network, batch: EdgeBatch
) -> tuple[Array, Array]:
    """For each row, the number of positions with a wrong answer, and with any answer."""
    _, logits = as_network(model).run_edge_patches(
        params, batch.base, batch.source, batch.masks, batch.patched_at
    )
    counts = (batch.weights[IIT] + batch.weights[STRICT]) > 0
    return (~is_right(logits, batch.base_target) & counts).sum(1), counts.sum(1)
