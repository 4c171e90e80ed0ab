"""The circuit of a compiled model, determined from its weights and its writers' outputs."""

import functools
from collections.abc import Iterator, Sequence

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from interpbench_jax.model import Circuit, Graph, Params, TransformerConfig, forward

# Compiled weights are sums of whole numbers, so a root mean square over all places below this is
# rounding. A whole number at one place in 100,000 gives more.
_VISIBLE = 1e-3


def ground_truth(
    params: Params,
    config: TransformerConfig,
    written: Sequence[Float[np.ndarray, "writer _ _ d_model"]],
) -> Circuit:
    """Finds the edges that carry information in a compiled model.

    An edge (writer, reader) belongs to the circuit iff the writer's output, after the reader's
    input map, differs between some two places (input, position), excluding BOS. The constant
    direction and the BOS direction therefore make no edges; positions do.

    Args:
      params: compiled weights.
      config: the compiled model's shape.
      written: outputs of the writers on batches of inputs, `[writer, batch, pos, d_model]` each;
        include several lengths if values that depend on the length should count as varying.
    """
    places = np.concatenate([w.reshape(len(w), -1, config.d_model) for w in written], 1)
    seen = visible(params, config, places - places.mean(1, keepdims=True))
    return Circuit.from_mask(Graph.of(config), seen)


@functools.partial(jax.jit, static_argnames="config")
def written_after_bos(
    params: Params, config: TransformerConfig, tokens: Int[Array | np.ndarray, "batch pos"]
) -> Float[Array, "writer batch pos_after_bos d_model"]:
    """What every writer writes on each input at each position after BOS."""
    _, writers = forward(params, config, tokens)
    return writers[:, 1:].transpose(2, 0, 1, 3)


def visible(
    params: Params, config: TransformerConfig, written: Float[np.ndarray, "writer place d_model"]
) -> Bool[np.ndarray, "writer reader"]:
    """Which readers' input maps let any part of the writers' outputs through.

    Args:
      params: compiled weights.
      config: the compiled model's shape.
      written: vectors of each writer, such as its deviations from a mean.
    """
    mask = np.zeros(Graph.of(config).valid.shape, bool)
    input_maps = list(_input_maps(params, config))
    for writer, vectors in enumerate(written):
        here = np.abs(vectors).max(0) > 0  # a writer uses few directions
        # The R of a QR decomposition has the same row space as the data, so the same parts of it
        # are visible.
        spread = np.linalg.qr(vectors[:, here], mode="r") / np.sqrt(len(vectors))
        for reader, input_map in enumerate(input_maps):
            seen = np.abs(spread @ input_map[here])
            mask[writer, reader] = seen.max(initial=0) > _VISIBLE
    return mask


def _input_maps(params: Params, config: TransformerConfig) -> Iterator[np.ndarray]:
    """For each reader, in graph order, the matrix that its input is multiplied by."""
    for layer in range(config.n_layers):
        block = params[f"blocks_{layer}"]
        for name in ("W_Q", "W_K", "W_V"):
            yield from np.asarray(block["attn"][name])
        yield np.asarray(block["mlp"]["W_in"])
    yield np.asarray(params["unembed"]["W_U"])
