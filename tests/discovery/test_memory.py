"""Memory of compiled methods."""

import dataclasses

import jax
import pytest

from interpbench_jax.discovery import METHODS, contrast_batch
from interpbench_jax.discovery.losses import cross_entropy
from interpbench_jax.model import Graph, init_params


def memory_and_edges(method, config, rows):
    """Bytes of temporaries per byte of the writers' outputs, and edges per writer."""
    params = jax.eval_shape(lambda key: init_params(config, key), jax.random.key(0))
    tokens = jax.ShapeDtypeStruct((rows, config.n_ctx), "int32")
    positions = jax.ShapeDtypeStruct(tokens.shape, "float32")
    batch = jax.eval_shape(
        lambda params, tokens, positions: contrast_batch(
            params, config, tokens, tokens, tokens, positions
        ),
        *(params, tokens, positions),
    )
    score = jax.jit(METHODS[method], static_argnums=(1, 3))
    memory = score.lower(params, config, batch, cross_entropy).compile().memory_analysis()
    assert memory is not None
    graph = Graph.of(config)
    written = batch.source.size * batch.source.dtype.itemsize
    return memory.temp_size_in_bytes / written, len(graph.edges) / graph.n_writers


@pytest.mark.parametrize(
    "method",
    [
        "eap",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("eap_ig_activations", "edge_patching", "acdc")
        ),
    ],
)
def test_memory_does_not_grow_with_edges(method, small):
    """In a deeper model every writer has more edges, but needs no more memory."""
    two, edges_of_two = memory_and_edges(method, small, rows=64)
    deeper = dataclasses.replace(small, n_layers=4)
    four, edges_of_four = memory_and_edges(method, deeper, rows=64)
    assert edges_of_four > 2 * edges_of_two
    assert four < 1.5 * two
