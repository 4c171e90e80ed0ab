"""The index layout of writers and readers, compared with their names."""

import numpy as np
import pytest

from interpbench_jax.model import Graph, transformer_graph

SIZES = [(1, 1), (1, 3), (2, 2), (2, 4), (3, 1), (4, 2)]
sizes = pytest.mark.parametrize(("n_layers", "n_heads"), SIZES)


def when(name):
    """The step of a run at which a node is read or written."""
    if name in ("input", "logits"):
        return {"input": -1, "logits": 10**6}[name]
    kind, layer = name[0], name[1:].partition(".")[0]
    return 2 * int(layer) + (kind == "m")


@sizes
def test_counts(n_layers, n_heads):
    graph = transformer_graph(n_layers, n_heads)
    assert len(graph.writers) == graph.n_writers == 1 + n_layers * (n_heads + 1)
    assert len(graph.readers) == graph.n_readers == n_layers * (3 * n_heads + 1) + 1
    assert len(graph.head_readers) == graph.n_writers
    assert graph.n_nodes == len({*graph.writers, *graph.head_readers})
    assert len(set(graph.writers)) == graph.n_writers
    assert len(set(graph.readers)) == graph.n_readers


def test_names_of_two_layers():
    """Written out: writers go input, heads, MLP; readers all q, all k, all v, MLP."""
    graph = transformer_graph(2, 2)
    assert graph.writers == ("input", "a0.h0", "a0.h1", "m0", "a1.h0", "a1.h1", "m1")
    assert graph.readers == (
        *("a0.h0<q>", "a0.h1<q>", "a0.h0<k>", "a0.h1<k>", "a0.h0<v>", "a0.h1<v>", "m0"),
        *("a1.h0<q>", "a1.h1<q>", "a1.h0<k>", "a1.h1<k>", "a1.h0<v>", "a1.h1<v>", "m1"),
        "logits",
    )
    assert graph.head_readers == ("a0.h0", "a0.h1", "m0", "a1.h0", "a1.h1", "m1", "logits")


def test_counts_of_the_usual_model():
    """12 nodes; besides input->logits, 53 edges at head level and 109 at q/k/v level."""
    graph = transformer_graph(2, 4)
    assert graph.n_nodes == 12
    # q, k, v of 4 heads and the MLP, per layer; each of the 11 writers has an edge to the logits.
    assert len(graph.edges) == graph.valid.sum() == (12 * 1 + 5) + (12 * 6 + 10) + 11 == 110
    assert graph.head_valid.sum() == (4 * 1 + 5) + (4 * 6 + 10) + 11 == 53 + 1


@sizes
def test_an_edge_goes_forward_in_time(n_layers, n_heads):
    """By name: the writer ends before the reader starts; heads of a layer run in parallel."""
    graph = transformer_graph(n_layers, n_heads)
    expected = [[when(w) < when(r) for r in graph.readers] for w in graph.writers]
    np.testing.assert_array_equal(graph.valid, expected)
    at_head_level = [[when(w) < when(r) for r in graph.head_readers] for w in graph.writers]
    np.testing.assert_array_equal(graph.head_valid, at_head_level)


@sizes
def test_edges_list_the_valid_pairs_in_order(n_layers, n_heads):
    graph = transformer_graph(n_layers, n_heads)
    edges = [tuple(edge) for edge in graph.edges.tolist()]
    assert edges == sorted(edges)
    pairs = np.ndindex(graph.n_writers, graph.n_readers)
    assert edges == [pair for pair in pairs if graph.valid[pair]]


@sizes
def test_slices_find_the_names(n_layers, n_heads):
    graph = transformer_graph(n_layers, n_heads)
    for layer in range(n_layers):
        heads = [f"a{layer}.h{head}" for head in range(n_heads)]
        assert list(graph.writers[graph.attention_writers(layer)]) == heads
        read = [f"{head}<{x}>" for x in "qkv" for head in heads]
        assert list(graph.readers[graph.attention_readers(layer)]) == read
        assert graph.writers[graph.mlp_writer(layer)] == f"m{layer}"
        assert graph.readers[graph.mlp_reader(layer)] == f"m{layer}"
    for index, reader in enumerate(graph.readers):
        head_reader = graph.head_readers[graph.reader_head_index[index]]
        assert reader in (head_reader, *(f"{head_reader}<{x}>" for x in "qkv"))


def test_head_level_takes_the_largest():
    """One layer of two heads: readers q q k k v v m logits."""
    values = np.array([[1.0, 8.0, 3.0, 2.0, 2.0, 9.0, -4.0, 5.0]])
    merged = transformer_graph(1, 2).to_head_level(values)
    np.testing.assert_array_equal(merged, [[3.0, 9.0, -4.0, 5.0]])
    mask = np.array([False, False, True, False, False, False, False, True])
    np.testing.assert_array_equal(
        transformer_graph(1, 2).to_head_level(mask), [True, False, False, True]
    )


def test_graph_of_a_model(variants):
    config = variants["causal"]
    assert Graph.of(config) == transformer_graph(config.n_layers, config.n_heads)
    assert hash(Graph.of(config)) == hash(transformer_graph(config.n_layers, config.n_heads))


def test_index_by_name_is_the_inverse_of_names():
    graph = transformer_graph(2, 3)
    assert [graph.writer_index(name) for name in graph.writers] == list(range(graph.n_writers))
    assert [graph.reader_index(name) for name in graph.readers] == list(range(graph.n_readers))


@pytest.mark.parametrize("name", ["a2.h0", "a0.h3", "m2", "logits", "a0.h0<q>", ""])
def test_unknown_writer(name):
    with pytest.raises(ValueError, match=f"no writer '{name}'.*a0.h0"):
        transformer_graph(2, 3).writer_index(name)


@pytest.mark.parametrize("name", ["a2.h0<q>", "a0.h3<v>", "a0.h0<o>", "m2", "input", "a0.h0"])
def test_unknown_reader(name):
    with pytest.raises(ValueError, match=f"no reader '{name}'.*a0.h0<q>"):
        transformer_graph(2, 3).reader_index(name)
