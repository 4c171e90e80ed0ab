"""What all attribution methods share: gradients at readers, times differences of writers."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from interpbench_jax.discovery.objective import ContrastBatch, Loss
from interpbench_jax.model import EdgePatch, NodePatch, Nudge, Params, TransformerConfig
from interpbench_jax.model.network import EdgeNetwork, as_edge_network

# Numbers that a chunk of rows may hold at once: a gibibyte of float32, or, on a CPU, about what
# its caches hold, but never fewer columns (rows times positions) than a matrix product is fast for.
_BUDGET, _CPU_BUDGET = 2**28, 5_000_000
_FEWEST_COLUMNS = 128

Weights = Float[Array, "writer reader"]
Rows = Callable[[Array], Array]
"""Takes some rows of an array."""


def attribution(
    params: Params,
    config: TransformerConfig | EdgeNetwork,
    batch: ContrastBatch,
    loss: Loss,
    patch: NodePatch | None = None,
) -> Weights:
    """To first order, by how much the loss rises when an edge carries its source on top of a patch.

    The gradient of the loss with respect to what reader r sees, times the difference between what
    writer w writes on the clean input and in the source, summed over inputs, positions and
    dimensions.

    Args:
      params: weights.
      config: their shape, or another network.
      batch: inputs and what patches put in.
      loss: `(logits, batch) -> scalar`.
      patch: where the gradient is taken; its mask must be the same for all rows.
    """
    network = as_edge_network(config)
    difference = batch.source - batch.written

    def run(weights: Weights | None, rows: Rows) -> Array:
        here = None if patch is None else patch._replace(source=rows(patch.source))
        nudge = None if weights is None else Nudge(weights, rows(difference))
        return network.run(params, rows(batch.clean), here, nudge)[0]

    known = batch.clean_logits if patch is None else None
    return _gradient(run, network, batch, loss, known)


def mask_gradient(
    params: Params,
    config: TransformerConfig | EdgeNetwork,
    batch: ContrastBatch,
    loss: Loss,
    share: Float[Array, ""],
) -> Weights:
    """The gradient of the loss with respect to the mask of edges, where all of it is the same.

    Args:
      params: weights.
      config: their shape, or another network.
      batch: inputs and what patches put in.
      loss: `(logits, batch) -> scalar`.
      share: how far all edges have gone from clean to source.
    """
    network = as_edge_network(config)

    def run(weights: Weights | None, rows: Rows) -> Array:
        mask = jnp.full((len(network.graph.valid), 1), share)
        patch = EdgePatch(mask if weights is None else mask + weights, rows(batch.source))
        return network.run(params, rows(batch.clean), patch)[0]

    return _gradient(run, network, batch, loss)


def _gradient(
    run: Callable[[Weights | None, Rows], Array],
    network: EdgeNetwork,
    batch: ContrastBatch,
    loss: Loss,
    logits: Float[Array, "batch pos d_vocab_out"] | None = None,
) -> Weights:
    """With respect to weights at 0; exact in any chunking, as the loss is that of all logits.

    Args:
      run: the logits of some rows under weights; `None` is weights 0, for less.
      network: has the weights.
      batch: inputs.
      loss: `(logits, batch) -> scalar`.
      logits: at weights 0, where they are known.
    """
    valid, (n_rows, n_pos, n_writers, width) = network.graph.valid, batch.source.shape
    zero = jnp.zeros(valid.shape)
    budget = _CPU_BUDGET if jax.default_backend() == "cpu" else _BUDGET
    per_row = n_pos * width * (valid.shape[1] + 4 * n_writers)
    n_chunks = -(-n_rows // max(budget // per_row, -(-_FEWEST_COLUMNS // n_pos)))
    if n_chunks == 1:
        gradient = jax.grad(lambda weights: loss(run(weights, lambda array: array), batch))(zero)
        return gradient * valid

    # The last chunk is filled up with copies of the last row, from which nothing flows back.
    chunk = -(-n_rows // n_chunks)
    wanted = jnp.arange(n_chunks * chunk).reshape(n_chunks, chunk)
    chunks = jnp.minimum(wanted, n_rows - 1)
    if logits is None:
        parts = jax.lax.map(lambda here: run(None, lambda array: array[here]), chunks)
        logits = parts.reshape(-1, *parts.shape[2:])[:n_rows]
    d_logits = jax.grad(loss)(logits, batch)

    def add(total: Weights, chosen: tuple[Array, Array]) -> tuple[Weights, None]:
        here, asked = chosen
        _, pull_back = jax.vjp(lambda weights: run(weights, lambda array: array[here]), zero)
        (scores,) = pull_back(jnp.where((asked < n_rows)[:, None, None], d_logits[here], 0))
        return total + scores, None

    return jax.lax.scan(add, zero, (chunks, wanted))[0] * valid


def attribution_along(
    params: Params,
    config: TransformerConfig | EdgeNetwork,
    batch: ContrastBatch,
    loss: Loss,
    masks: Float[Array, "point writer"],
) -> Weights:
    """The mean attribution along a path on which writers go from clean to source.

    Args:
      params: weights.
      config: their shape, or another network.
      batch: inputs and what patches put in.
      loss: `(logits, batch) -> scalar`.
      masks: per point of the path, how far each writer has gone.
    """

    def add(total: Weights, mask: Array) -> tuple[Weights, None]:
        patch = NodePatch(mask, batch.source)
        return total + attribution(params, config, batch, loss, patch), None

    zero = jnp.zeros(as_edge_network(config).graph.valid.shape)
    return jax.lax.scan(add, zero, masks)[0] / len(masks)


def input_writers(config: TransformerConfig | EdgeNetwork) -> np.ndarray:
    """Places of the writers that all readers can see: they have read nothing, so they are inputs.

    In a transformer that is the embedding alone.
    """
    return np.flatnonzero(as_edge_network(config).graph.valid.all(1))


def path_shares(steps: int) -> Float[Array, " step"]:
    """Shares of the way from clean to source: 0, 1/steps, ..., 1 - 1/steps.

    Raises:
      ValueError: `steps` is smaller than 1.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    return jnp.arange(steps) / steps
