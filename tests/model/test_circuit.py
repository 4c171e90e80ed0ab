"""Circuits are sets of edges: set algebra, masks, merged heads, and their file format."""

import json
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interpbench_jax.model import Circuit, Graph, transformer_graph

SMALL = transformer_graph(1, 2)


def circuit(*edges, graph=SMALL):
    """A circuit from edges written `writer->reader`."""
    return Circuit(graph, frozenset(tuple(edge.split("->")) for edge in edges))


@st.composite
def masks(draw, graph):
    """Any subset of a graph's edges, as a mask."""
    mask = np.zeros(graph.valid.shape, bool)
    n_edges = len(graph.edges)
    mask[graph.valid] = draw(st.lists(st.booleans(), min_size=n_edges, max_size=n_edges))
    return mask


graphs = st.sampled_from([transformer_graph(*sizes) for sizes in np.ndindex(4, 4) if min(sizes)])
graphs_and_masks = graphs.flatmap(lambda graph: st.tuples(st.just(graph), masks(graph)))


def test_set_algebra_by_hand():
    left = circuit("input->a0.h0<q>", "a0.h0->m0", "m0->logits")
    right = circuit("a0.h0->m0", "input->logits")
    assert left | right == circuit("input->a0.h0<q>", "a0.h0->m0", "m0->logits", "input->logits")
    assert left & right == circuit("a0.h0->m0")
    assert left - right == circuit("input->a0.h0<q>", "m0->logits")
    assert (left & right) <= left
    assert not left <= right
    assert len(left) == 3
    assert ("a0.h0", "m0") in left
    assert ("input", "logits") not in left


def test_iteration_is_in_graph_order():
    """By writer, then by reader, in whatever order the edges are given."""
    edges = [
        "m0->logits",
        "input->logits",
        "a0.h1->logits",
        "a0.h1->m0",
        "input->m0",
        "input->a0.h1<k>",
    ]
    assert list(circuit(*edges)) == [
        ("input", "a0.h1<k>"),
        ("input", "m0"),
        ("input", "logits"),
        ("a0.h1", "m0"),
        ("a0.h1", "logits"),
        ("m0", "logits"),
    ]


def test_head_level_merges_q_k_v():
    found = circuit("input->a0.h1<q>", "input->a0.h1<v>", "a0.h1->logits")
    assert found.head_edges == {("input", "a0.h1"), ("a0.h1", "logits")}
    assert found.nodes == {"input", "a0.h1", "logits"}
    # Writers input, a0.h0, a0.h1, m0; head-level readers a0.h0, a0.h1, m0, logits.
    expected = np.zeros((4, 4), bool)
    expected[0, 1] = expected[2, 3] = True
    np.testing.assert_array_equal(found.head_mask, expected)


def test_mask_by_hand():
    """Readers of one layer of two heads: q q k k v v m0 logits."""
    expected = np.zeros((4, 8), bool)
    expected[0, 3] = expected[2, 6] = expected[3, 7] = True
    found = circuit("input->a0.h1<k>", "a0.h1->m0", "m0->logits")
    np.testing.assert_array_equal(found.mask, expected)


def test_from_mask_ignores_pairs_that_are_no_edges():
    everything = Circuit.from_mask(SMALL, np.ones(SMALL.valid.shape, bool))
    assert len(everything) == SMALL.valid.sum()
    np.testing.assert_array_equal(everything.mask, SMALL.valid)


@pytest.mark.parametrize("shape", [(3, 8), (8, 4), (1, 8), (4, 1), (1, 1)])
def test_from_mask_of_another_graph(shape):
    """Shapes that NumPy would broadcast are refused, too."""
    with pytest.raises(ValueError, match=rf"\({shape[0]}, ?{shape[1]}\)"):
        Circuit.from_mask(SMALL, np.ones(shape, bool))


def test_equal_circuits_hash_equal():
    one = circuit("input->m0", "m0->logits")
    same = circuit("m0->logits", "input->m0")
    assert one == same
    assert hash(one) == hash(same)
    assert one != circuit("input->m0")
    deeper = circuit("input->m0", graph=transformer_graph(2, 2))
    assert circuit("input->m0", graph=transformer_graph(1, 2)) != deeper


@given(graphs_and_masks)
def test_json_round_trip(graph_and_mask):
    found = Circuit.from_mask(*graph_and_mask)
    text = found.to_json()
    assert Circuit.from_json(text) == found
    assert Circuit.from_json(text).to_json() == text
    names = [f"{writer}->{reader}" for writer, reader in found]
    assert json.loads(text)["edges"] == names


@given(graphs_and_masks)
def test_mask_round_trip(graph_and_mask):
    graph, mask = graph_and_mask
    found = Circuit.from_mask(graph, mask)
    np.testing.assert_array_equal(found.mask, mask)
    assert mask.sum() == len(found) == len(list(found))


@given(graphs_and_masks)
def test_both_head_level_views_agree(graph_and_mask):
    found = Circuit.from_mask(*graph_and_mask)
    pairs = np.argwhere(found.head_mask)
    names = {(found.graph.writers[w], found.graph.head_readers[r]) for w, r in pairs}
    assert names == found.head_edges
    assert found.nodes == {name for edge in names for name in edge}


@given(masks(transformer_graph(2, 1)), masks(transformer_graph(2, 1)))
def test_set_algebra_is_that_of_the_masks(left, right):
    graph = transformer_graph(2, 1)
    a, b = Circuit.from_mask(graph, left), Circuit.from_mask(graph, right)
    np.testing.assert_array_equal((a | b).mask, left | right)
    np.testing.assert_array_equal((a & b).mask, left & right)
    np.testing.assert_array_equal((a - b).mask, left & ~right)
    assert (a <= b) == (not (left & ~right).any())
    assert all((edge in b) == (edge in (a & b)) for edge in a)


@pytest.mark.parametrize(
    ("edge", "message"),
    [
        ("a7.h0->logits", "no writer 'a7.h0'"),
        ("input->a0.h0", "no reader 'a0.h0'"),
        ("m0->a0.h0<q>", "m0->a0.h0<q> is not an edge"),
        ("a0.h0->a0.h1<v>", "a0.h0->a0.h1<v> is not an edge"),
    ],
)
def test_edges_that_do_not_exist(edge, message):
    with pytest.raises(ValueError, match=message):
        circuit(edge)
    text = json.dumps({"n_layers": 1, "n_heads": 2, "edges": [edge]})
    with pytest.raises(ValueError, match=message):
        Circuit.from_json(text)


@pytest.mark.parametrize("operation", ["__or__", "__and__", "__sub__"])
def test_circuits_of_different_graphs_do_not_mix(operation):
    one = circuit("input->m0")
    other = circuit("input->m0", graph=transformer_graph(3, 2))
    with pytest.raises(ValueError, match=r"n_layers=1.*n_layers=3"):
        getattr(one, operation)(other)
    assert not one <= other


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a circuit"),
        ("circuit.json", "circuit.json"),
        ("[1, 2]", r"\[1, 2\]"),
        ("null", "null"),
        ('{"n_layers": 1, "edges": []}', "n_heads"),
        ('{"n_layers": 1, "n_heads": 2}', "edges"),
        ('{"n_layers": null, "n_heads": 2, "edges": []}', "null"),
        ('{"n_layers": "two", "n_heads": 2, "edges": []}', "two"),
        ('{"n_layers": 1.5, "n_heads": 2, "edges": []}', r"1\.5"),
        ('{"n_layers": Infinity, "n_heads": 2, "edges": []}', "(?i)inf"),
        ('{"n_layers": -1, "n_heads": 2, "edges": []}', "-1"),
        ('{"n_layers": 1, "n_heads": 0, "edges": []}', "0"),
        ('{"n_layers": 1, "n_heads": 2, "edges": 3}', "not a circuit"),
        ('{"n_layers": 1, "n_heads": 2, "edges": [3]}', "not a circuit"),
        ('{"n_layers": 1, "n_heads": 2, "edges": {"input->m0": 1}}', "not a circuit"),
        ('{"n_layers": true, "n_heads": 2, "edges": []}', "true"),
        ('{"n_layers": 1000000000, "n_heads": 2, "edges": []}', "too many"),
        ('{"n_layers": 1, "n_heads": 1%s, "edges": []}' % ("0" * 30), "too many"),
        ("[" * 100_000, "nested too deeply"),
        ('{"n_layers": 1, "n_heads": 2, "edges": ["input"]}', "'input' is not of the form"),
        ('{"n_layers": 1, "n_heads": 2, "edges": ["input->m0->logits"]}', "input->m0->logits"),
    ],
)
def test_text_that_is_not_a_circuit(text, message):
    with pytest.raises(ValueError, match=message):
        Circuit.from_json(text)


QUERY, VALUE, OUT = ("input", "a0.h0<q>"), ("input", "a0.h0<v>"), ("a0.h0", "logits")


def test_unobservable_edges_are_marked_and_kept():
    found = Circuit(SMALL, frozenset({QUERY, VALUE, OUT}), frozenset({QUERY}))
    assert found.observable == Circuit(SMALL, frozenset({VALUE, OUT}))
    assert found.mask.sum() == len(found) == 3 and QUERY in found
    assert found != Circuit(SMALL, found.edges) and found <= Circuit(SMALL, found.edges)
    text = found.to_json()
    assert json.loads(text)["unobservable"] == ["input->a0.h0<q>"]
    assert Circuit.from_json(text) == found
    # Files of older versions, and files without unobservable edges, are the same.
    plain = Circuit(SMALL, found.edges)
    assert "unobservable" not in json.loads(plain.to_json())
    assert Circuit.from_json(plain.to_json()) == plain


def test_set_algebra_keeps_the_marks_of_remaining_edges():
    marked = Circuit(SMALL, frozenset({QUERY, OUT}), frozenset({QUERY}))
    plain = Circuit(SMALL, frozenset({QUERY, VALUE}))
    for both in (marked | plain, plain | marked, marked & plain, plain & marked):
        assert both.unobservable == {QUERY}
    assert (marked - Circuit(SMALL, frozenset({OUT}))).unobservable == {QUERY}
    assert (marked - plain).unobservable == (plain - marked).unobservable == frozenset()


@pytest.mark.parametrize(
    ("unobservable", "message"),
    [
        ('["input->a0.h0<k>"]', "input->a0.h0<k> is unobservable, but not in the circuit"),
        ('["a9.h0->nowhere"]', "a9.h0->nowhere is unobservable, but not in the circuit"),
        ('["input"]', "'input' is not of the form"),
        ('["input->m0->logits"]', "is not of the form"),
        ("null", "unobservable is not a list of names"),
        ("3", "unobservable is not a list of names"),
        ("[[]]", "unobservable is not a list of names"),
        ('{"input->m0": 1}', "unobservable is not a list of names"),
    ],
)
def test_invalid_unobservable_edges(unobservable, message):
    text = '{"n_layers": 1, "n_heads": 2, "edges": ["input->m0"], "unobservable": %s}'
    with pytest.raises(ValueError, match=message):
        Circuit.from_json(text % unobservable)


def test_circuits_of_other_networks_are_stored_with_their_names():
    graph = Graph(("x1", "x2", "and"), ("and", "logits"), (2, 3))
    found = Circuit(graph, frozenset({("x1", "and"), ("and", "logits")}))
    assert Circuit.from_json(found.to_json()) == found
    text = found.to_json().replace('"x2"', '"x1"')
    with pytest.raises(ValueError, match="two writers are named 'x1'"):
        Circuit.from_json(text)
    with pytest.raises(ValueError, match="names must be text"):
        Circuit.from_json(found.to_json().replace('"x2"', "2"))


def test_a_circuit_draws_itself_in_a_notebook() -> None:
    graph = transformer_graph(2, 2)
    edges = frozenset([("input", "a0.h0<q>"), ("input", "a0.h0<k>"), ("a0.h0", "logits")])
    circuit = Circuit(graph, edges, frozenset([("a0.h0", "logits")]))
    drawing = ElementTree.fromstring(circuit._repr_svg_())
    classes = [path.get("class") for path in drawing.iter("{http://www.w3.org/2000/svg}path")]
    assert classes.count("edge true") == classes.count("edge unobservable") == 1
