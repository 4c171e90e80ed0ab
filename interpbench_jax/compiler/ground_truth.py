"""The circuit of a compiled model, read off its weights and what its writers write."""

import functools
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from interpbench_jax.model import Circuit, Graph, Params, TransformerConfig, forward

# Compiled weights are whole numbers and their sums; what is smaller is rounding.
_VISIBLE = 1e-3


def ground_truth(
    params: Params, config: TransformerConfig, inputs: Sequence[np.ndarray]
) -> Circuit:
    """Finds the edges that carry information in a compiled model.

    An edge (writer, reader) belongs to the circuit iff what the writer writes, seen through the
    reader's input map, differs between some two places (input, position), BOS left out. The
    constant direction and the BOS direction therefore make no edges, positions do.

    Args:
      params: compiled weights.
      config: the compiled model's shape.
      inputs: batches of token ids, `[batch, pos]`, to look at; of several lengths if what
        depends on the length shall count as varying.
    """
    graph = Graph.of(config)
    written = [_written_after_bos(params, config, jnp.asarray(tokens)) for tokens in inputs]
    places = np.concatenate(written, 1)
    # The R of a QR decomposition spans the same rows as the data: what is visible in one is in
    # the other.
    spread = np.linalg.qr(places - places.mean(1, keepdims=True), mode="r")
    mask = np.zeros(graph.valid.shape, bool)
    for reader, input_map in enumerate(_input_maps(params, config)):
        seen = np.einsum("wij,jk->wik", spread, input_map)
        mask[:, reader] = np.abs(seen).max((1, 2)) > _VISIBLE
    return Circuit.from_mask(graph, mask)


@functools.partial(jax.jit, static_argnames="config")
def _written_after_bos(
    params: Params, config: TransformerConfig, tokens: Int[Array, "batch pos"]
) -> Float[Array, "writer place d_model"]:
    """What every writer writes at each place (input, position) after BOS."""
    _, writers = forward(params, config, tokens)
    return writers[:, 1:].transpose(2, 0, 1, 3).reshape(writers.shape[2], -1, config.d_model)


def _input_maps(params: Params, config: TransformerConfig) -> Iterator[np.ndarray]:
    """For each reader, in graph order, the matrix its input is multiplied with."""
    for layer in range(config.n_layers):
        block = params[f"blocks_{layer}"]
        for name in ("W_Q", "W_K", "W_V"):
            yield from np.asarray(block["attn"][name])
        yield np.asarray(block["mlp"]["W_in"])
    yield np.asarray(params["unembed"]["W_U"])
