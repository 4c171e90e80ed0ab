"""The circuit of a compiled model, read off its weights and what its writers write."""

import functools
from collections.abc import Iterator, Sequence

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from interpbench_jax.model import Circuit, Graph, Params, TransformerConfig, forward

# Compiled weights are whole numbers and their sums; what is smaller, root mean square over all
# places, is rounding. One place in a hundred thousand is larger.
_VISIBLE = 1e-3


def ground_truth(
    params: Params,
    config: TransformerConfig,
    written: Sequence[Float[np.ndarray, "writer _ _ d_model"]],
) -> Circuit:
    """Finds the edges that carry information in a compiled model.

    An edge (writer, reader) belongs to the circuit iff what the writer writes, seen through the
    reader's input map, differs between some two places (input, position), BOS left out. The
    constant direction and the BOS direction therefore make no edges, positions do.

    Args:
      params: compiled weights.
      config: the compiled model's shape.
      written: what writers write on batches of inputs, `[writer, batch, pos, d_model]` each; of
        several lengths if what depends on the length shall count as varying.
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
    """Which readers see anything of what writers write, through their input maps.

    Args:
      params: compiled weights.
      config: their shape.
      written: vectors of each writer, such as its deviations from a mean.
    """
    mask = np.zeros(Graph.of(config).valid.shape, bool)
    input_maps = list(_input_maps(params, config))
    for writer, vectors in enumerate(written):
        here = np.abs(vectors).max(0) > 0  # a writer uses few directions
        # The R of a QR decomposition spans the same rows as the data: what is visible in one is
        # in the other.
        spread = np.linalg.qr(vectors[:, here], mode="r") / np.sqrt(len(vectors))
        for reader, input_map in enumerate(input_maps):
            seen = np.abs(spread @ input_map[here])
            mask[writer, reader] = seen.max(initial=0) > _VISIBLE
    return mask


def _input_maps(params: Params, config: TransformerConfig) -> Iterator[np.ndarray]:
    """For each reader, in graph order, the matrix its input is multiplied with."""
    for layer in range(config.n_layers):
        block = params[f"blocks_{layer}"]
        for name in ("W_Q", "W_K", "W_V"):
            yield from np.asarray(block["attn"][name])
        yield np.asarray(block["mlp"]["W_in"])
    yield np.asarray(params["unembed"]["W_U"])
