"""Runs of a batch in chunks of rows, if the writers' outputs do not fit into memory.

Such a batch has no `written`: outputs are computed for a chunk of rows when they are needed, and
again for the gradient. A batch that holds all outputs is run at once.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from interpbench_jax.discovery.batch import ContrastBatch
from interpbench_jax.model import Params, TransformerConfig
from interpbench_jax.model.network import Network, as_network

# The most numbers of a chunk of rows: a gibibyte of float32, or on a CPU about the size of its
# caches, but never fewer columns (rows times positions) than matrix products need to be fast.
_BUDGET, _CPU_BUDGET = 2**28, 5_000_000
_FEWEST_COLUMNS = 128

Rows = Int[Array, " row"] | slice
"""The rows of a part of a batch; `ALL` for the whole batch."""
ALL = slice(None)


class Part(NamedTuple):
    """Some rows of a batch with everything computed from them; fields as in `ContrastBatch`."""

    clean: Int[Array, "row pos"]
    positions: Float[Array, "row pos"]
    written: Float[Array, "row pos writer d_model"]
    source: Float[Array, "row pos writer d_model"]


_Sum = TypeVar("_Sum", bound=PyTree)


def written_shape(
    params: Params, network: TransformerConfig | Network, clean: Int[Array, "batch pos"]
) -> tuple[int, ...]:
    """Rows, positions, writers and width of the writers' outputs; runs nothing."""
    _, written = jax.eval_shape(as_network(network).run, params, clean)
    return written.shape


def take_rows(batch: ContrastBatch, rows: Rows) -> ContrastBatch:
    """Some rows of a batch; a single source for all rows is kept."""
    source = batch.source
    if source is not None and len(source) == len(batch.clean):
        source = source[rows]
    part = jax.tree.map(lambda array: array[rows], batch._replace(source=None))
    return part._replace(source=source)


def part_of(
    params: Params, network: TransformerConfig | Network, batch: ContrastBatch, rows: Rows = ALL
) -> Part:
    """Some rows of a batch with their writers' outputs, which are computed if necessary.

    Raises:
      ValueError: the batch has neither a source nor corrupted inputs for one.
    """
    network, some = as_network(network), batch if rows is ALL else take_rows(batch, rows)
    written, source = some.written, some.source
    if written is None:
        _, written = network.run(params, some.clean)
    if source is None:
        if some.corrupted is None:
            raise ValueError("the batch has neither a source nor corrupted inputs for one")
        _, source = network.run(params, some.corrupted)
    return Part(some.clean, some.positions, written, jnp.broadcast_to(source, written.shape))


def row_chunks(
    params: Params, network: TransformerConfig | Network, clean: Int[Array, "batch pos"]
) -> tuple[Int[Array, "chunk row"], Int[Array, "chunk row"]]:
    """Chunks of rows, as large as the budget allows for a run with its gradient.

    Returns:
      The rows of each chunk, where the last chunk is padded with copies of the last row. And the
      same with out-of-range indices in place of the copies, so that these can be ignored.
    """
    n_rows, n_pos, n_writers, width = written_shape(params, network, clean)
    n_readers = as_network(network).graph.valid.shape[1]
    budget = _CPU_BUDGET if jax.default_backend() == "cpu" else _BUDGET
    per_row = n_pos * width * (n_readers + 4 * n_writers)
    n_chunks = -(-n_rows // max(budget // per_row, -(-_FEWEST_COLUMNS // n_pos)))
    size = -(-n_rows // n_chunks)
    wanted = jnp.arange(n_chunks * size).reshape(n_chunks, size)
    return jnp.minimum(wanted, n_rows - 1), wanted


def map_rows(
    function: Callable[[Int[Array, " row"]], Array],
    params: Params,
    network: TransformerConfig | Network,
    clean: Int[Array, "batch pos"],
) -> Array:
    """The values of all rows, from a function that computes the values of some."""
    chunks, _ = row_chunks(params, network, clean)
    parts = jax.lax.map(jax.checkpoint(function), chunks)
    return parts.reshape(-1, *parts.shape[2:])[: len(clean)]


def run_rows(
    run: Callable[[Part, Rows], Array],
    params: Params,
    network: TransformerConfig | Network,
    batch: ContrastBatch,
) -> Array:
    """The results of a run for all rows, such as logits.

    Args:
      run: computes the results for some rows.
      params: weights.
      network: a transformer's shape, or another network.
      batch: inputs and the source of patches.
    """
    if batch.written is not None:
        return run(part_of(params, network, batch), ALL)
    return map_rows(
        lambda rows: run(part_of(params, network, batch, rows), rows),
        params,
        network,
        batch.clean,
    )


def sum_over_rows(
    of_part: Callable[[Part], _Sum],
    params: Params,
    network: TransformerConfig | Network,
    batch: ContrastBatch,
) -> _Sum:
    """The sum of a function over the parts of a batch.

    Args:
      of_part: sums over the rows of a part, with each position weighted by `positions`.
      params: weights.
      network: a transformer's shape, or another network.
      batch: inputs, the source of patches, and weights of positions.
    """
    if batch.written is not None:
        return of_part(part_of(params, network, batch))

    def some(chosen: tuple[Array, Array]) -> _Sum:
        rows, wanted = chosen
        part = part_of(params, network, batch, rows)
        here = (wanted < len(batch.clean))[:, None]
        return of_part(part._replace(positions=jnp.where(here, part.positions, 0)))

    def add(total: _Sum, chosen: tuple[Array, Array]) -> tuple[_Sum, None]:
        return jax.tree.map(jnp.add, total, some(chosen)), None

    chunks = row_chunks(params, network, batch.clean)
    first = jax.tree.map(lambda array: array[0], chunks)
    zero = jax.tree.map(
        lambda found: jnp.zeros(found.shape, found.dtype), jax.eval_shape(some, first)
    )
    return jax.lax.scan(add, zero, chunks)[0]
