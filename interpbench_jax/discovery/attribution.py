"""The common part of all attribution methods: gradients at readers times changes of writers."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from interpbench_jax.discovery.batch import ContrastBatch, Loss
from interpbench_jax.discovery.rows import ALL, Part, Rows, map_rows, part_of, row_chunks
from interpbench_jax.model import EdgePatch, NodePatch, Nudge, Params, TransformerConfig
from interpbench_jax.model.network import Network, as_network

Weights = Float[Array, "writer reader"]
PatchOf = Callable[[Part, Rows], NodePatch]
"""Returns the patch of a part of a batch."""


def attribution(
    params: Params,
    network: TransformerConfig | Network,
    batch: ContrastBatch,
    loss: Loss,
    patch: PatchOf | None = None,
) -> Weights:
    """First-order estimate of how much the loss rises when an edge is patched.

    This is the gradient of the loss with respect to what reader r sees, times the source of writer
    w minus its clean output, summed over inputs, positions and dimensions.

    Args:
      params: weights.
      network: a transformer's shape, or another network.
      batch: inputs and the source of patches.
      loss: `(logits, batch) -> scalar`.
      patch: patch under which the gradient is computed; its mask must be the same for all rows.
    """
    network = as_network(network)
    # Subtracted once, so that every chunk takes its rows of one array instead of two.
    written, source = batch.written, batch.source
    held = None if written is None or source is None else source - written

    def run(weights: Weights | None, part: Part, rows: Rows) -> Array:
        here = None if patch is None else patch(part, rows)
        change = part.source - part.written if held is None else held[rows]
        nudge = None if weights is None else Nudge(weights, change)
        return network.run(params, part.clean, here, nudge)[0]

    known = batch.clean_logits if patch is None else None
    return _gradient(run, params, network, batch, loss, known)


def mask_gradient(
    params: Params,
    network: TransformerConfig | Network,
    batch: ContrastBatch,
    loss: Loss,
    share: Float[Array, ""],
) -> Weights:
    """The gradient of the loss with respect to the edge mask, at a mask with one value.

    Args:
      params: weights.
      network: a transformer's shape, or another network.
      batch: inputs and the source of patches.
      loss: `(logits, batch) -> scalar`.
      share: the mask's value: 0 is clean, 1 is the source.
    """
    network = as_network(network)

    def run(weights: Weights | None, part: Part, _: Rows) -> Array:
        mask = jnp.full((network.graph.n_writers, 1), share)
        patch = EdgePatch(mask if weights is None else mask + weights, part.source)
        return network.run(params, part.clean, patch)[0]

    return _gradient(run, params, network, batch, loss)


def _gradient(
    run: Callable[[Weights | None, Part, Rows], Array],
    params: Params,
    network: TransformerConfig | Network,
    batch: ContrastBatch,
    loss: Loss,
    logits: Float[Array, "batch pos d_vocab_out"] | None = None,
) -> Weights:
    """The gradient at weights 0; exact for any chunking, as the loss sees all logits.

    Args:
      run: computes the logits of a part of the batch under weights; `None` is weights 0, which is
        cheaper.
      params: weights of the model.
      network: a transformer's shape, or another network.
      batch: inputs.
      loss: `(logits, batch) -> scalar`.
      logits: the logits at weights 0, if known.
    """
    valid = as_network(network).graph.valid
    zero = jnp.zeros(valid.shape)
    chunks, wanted = row_chunks(params, network, batch.clean)
    if len(chunks) == 1:
        whole = part_of(params, network, batch)
        gradient = jax.grad(lambda weights: loss(run(weights, whole, ALL), batch))(zero)
        return gradient * valid

    part = functools.partial(part_of, params, network, batch)
    if logits is None:
        logits = map_rows(lambda rows: run(None, part(rows), rows), params, network, batch.clean)
    d_logits = jax.grad(loss)(logits, batch)

    def add(total: Weights, chosen: tuple[Array, Array]) -> tuple[Weights, None]:
        rows, indices = chosen
        here = part(rows)
        _, pull_back = jax.vjp(lambda weights: run(weights, here, rows), zero)
        in_batch = (indices < len(batch.clean))[:, None, None]  # no gradient from copies
        (scores,) = pull_back(jnp.where(in_batch, d_logits[rows], 0))
        return total + scores, None

    return jax.lax.scan(add, zero, (chunks, wanted))[0] * valid


def attribution_along(
    params: Params,
    network: TransformerConfig | Network,
    batch: ContrastBatch,
    loss: Loss,
    masks: Float[Array, "point writer"],
) -> Weights:
    """The mean attribution along a path from the writers' clean outputs to their source.

    Args:
      params: weights.
      network: a transformer's shape, or another network.
      batch: inputs and the source of patches.
      loss: `(logits, batch) -> scalar`.
      masks: for each point of the path, the mask of writers.
    """

    def add(total: Weights, mask: Array) -> tuple[Weights, None]:
        def patch(part: Part, _: Rows) -> NodePatch:
            return NodePatch(mask, part.source)

        return total + attribution(params, network, batch, loss, patch), None

    zero = jnp.zeros(as_network(network).graph.valid.shape)
    return jax.lax.scan(add, zero, masks)[0] / len(masks)


def input_writers(network: TransformerConfig | Network) -> np.ndarray:
    """Indices of the writers that come before every reader: the inputs.

    In a transformer this is only the embedding.
    """
    return np.flatnonzero(as_network(network).graph.valid.all(1))


def path_shares(steps: int) -> Float[Array, " step"]:
    """Shares of the way from clean to source: 0, 1/steps, ..., 1 - 1/steps.

    Raises:
      ValueError: `steps` is smaller than 1.
    """
    check_steps(steps)
    return jnp.arange(steps) / steps


def check_steps(steps: int) -> None:
    """Checks the number of steps of a path.

    Raises:
      ValueError: it is smaller than 1.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
