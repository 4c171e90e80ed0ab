"""The circuit of a compiled model, read off its weights and what its writers write."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from interpbench_jax.model import Circuit, Graph, Params, TransformerConfig, forward

# Compiled weights are whole numbers and their sums; what is smaller is rounding.
_VISIBLE = 1e-3


def ground_truth(
    params: Params, config: TransformerConfig, tokens: Int[np.ndarray, "batch pos"]
) -> Circuit:
    """Finds the edges that carry information in a compiled model.

    An edge (writer, reader) belongs to the circuit iff what the writer writes, seen through the
    reader's input map, differs between some two places (input, position), BOS left out. The
    constant direction and the BOS direction therefore make no edges, positions do.

    Args:
      params: compiled weights.
      config: the compiled model's shape.
      tokens: the inputs over which writers are looked at; all there are, if possible.
    """
    graph = Graph.of(config)
    spread = np.asarray(_spread(params, config, jnp.asarray(tokens)))
    mask = np.zeros(graph.valid.shape, bool)
    for reader, input_map in enumerate(_input_maps(params, config)):
        seen = np.einsum("wij,jk->wik", spread, input_map)
        mask[:, reader] = np.abs(seen).max((1, 2)) > _VISIBLE
    return Circuit.from_mask(graph, mask)


@jax.jit(static_argnames="config")
def _spread(
    params: Params, config: TransformerConfig, tokens: Int[Array, "batch pos"]
) -> Float[Array, "writer d_model d_model"]:
    """Per writer a square root of the covariance of what it writes after BOS."""
    _, writers = forward(params, config, tokens)
    places = writers[:, 1:].transpose(2, 0, 1, 3).reshape(writers.shape[2], -1, config.d_model)
    centred = places - places.mean(1, keepdims=True)
    # R of QR has the same row space as the data: a direction is visible in one iff in the other.
    return jnp.linalg.qr(centred, mode="r")


def _input_maps(params: Params, config: TransformerConfig) -> Iterator[np.ndarray]:
    """For each reader, in graph order, the matrix its input is multiplied with.

    Queries and keys act only together, so each is seen through the product of both maps.
    """
    for layer in range(config.n_layers):
        block = params[f"blocks_{layer}"]
        attention = {name: np.asarray(block["attn"][f"W_{name}"]) for name in "QKVO"}
        query_key = attention["Q"] @ attention["K"].swapaxes(-1, -2)
        yield from query_key
        yield from query_key.swapaxes(-1, -2)
        yield from attention["V"] @ attention["O"]
        yield np.asarray(block["mlp"]["W_in"])
    yield np.asarray(params["unembed"]["W_U"])
