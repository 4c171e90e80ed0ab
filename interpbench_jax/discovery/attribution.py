"""What all attribution methods share: gradients at readers, times differences of writers."""

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
"""The patch of a part of a batch."""


def attribution(
    params: Params,
    network: TransformerConfig | Network,
    batch: ContrastBatch,
    loss: Loss,
    patch: PatchOf | None = None,
) -> Weights:
    """To first order, by how much the loss rises when an edge carries its source on top of a patch.

    The gradient of the loss with respect to what reader r sees, times the difference between what
    writer w writes on the clean input and in the source, summed over inputs, positions and
    dimensions.

    Args:
      params: weights.
      network: a transformer's shape, or another network.
      batch: inputs and what patches put in.
      loss: `(logits, batch) -> scalar`.
      patch: where the gradient is taken; its mask must be the same for all rows.
    """
    network = as_network(network)

    def run(weights: Weights | None, part: Part, rows: Rows) -> Array:
        here = None if patch is None else patch(part, rows)
        nudge = None if weights is None else Nudge(weights, part.source - part.written)
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
    """The gradient of the loss with respect to the mask of edges, where all of it is the same.

    Args:
      params: weights.
      network: a transformer's shape, or another network.
      batch: inputs and what patches put in.
      loss: `(logits, batch) -> scalar`.
      share: how far all edges have gone from clean to source.
    """
    network = as_network(network)

    def run(weights: Weights | None, part: Part, _: Rows) -> Array:
        mask = jnp.full((len(network.graph.valid), 1), share)
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
    """With respect to weights at 0; exact in any chunking, as the loss is that of all logits.

    Args:
      run: the logits of a part of the batch under weights; `None` is weights 0, for less.
      params: weights of the model.
      network: a transformer's shape, or another network.
      batch: inputs.
      loss: `(logits, batch) -> scalar`.
      logits: at weights 0, where they are known.
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
        rows, asked = chosen
        here = part(rows)
        _, pull_back = jax.vjp(lambda weights: run(weights, here, rows), zero)
        in_batch = (asked < len(batch.clean))[:, None, None]  # nothing flows back from copies
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
    """The mean attribution along a path on which writers go from clean to source.

    Args:
      params: weights.
      network: a transformer's shape, or another network.
      batch: inputs and what patches put in.
      loss: `(logits, batch) -> scalar`.
      masks: per point of the path, how far each writer has gone.
    """

    def add(total: Weights, mask: Array) -> tuple[Weights, None]:
        def patch(part: Part, _: Rows) -> NodePatch:
            return NodePatch(mask, part.source)

        return total + attribution(params, network, batch, loss, patch), None

    zero = jnp.zeros(as_network(network).graph.valid.shape)
    return jax.lax.scan(add, zero, masks)[0] / len(masks)


def input_writers(network: TransformerConfig | Network) -> np.ndarray:
    """Places of the writers that all readers can see: they have read nothing, so they are inputs.

    In a transformer that is the embedding alone.
    """
    return np.flatnonzero(as_network(network).graph.valid.all(1))


def path_shares(steps: int) -> Float[Array, " step"]:
    """Shares of the way from clean to source: 0, 1/steps, ..., 1 - 1/steps.

    Raises:
      ValueError: `steps` is smaller than 1.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    return jnp.arange(steps) / steps
