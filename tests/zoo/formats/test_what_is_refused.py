"""Files that are damaged or of another model: one error each, naming the value."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from interpbench_jax.model import Circuit, transformer_graph
from interpbench_jax.zoo import load_model
from interpbench_jax.zoo.formats import (
    Discovered,
    from_eap_ig,
    from_eap_ig_tensors,
    from_edge_list,
    from_named_scores,
    named_circuit,
    read_discovered,
    read_eap_ig,
    read_edge_lines,
    read_score_arrays,
    read_table,
    to_eap_ig,
    to_named_scores,
    write_score_arrays,
    write_table,
)

GRAPH = transformer_graph(1, 2)
VALUES = np.where(GRAPH.valid, np.arange(GRAPH.valid.size).reshape(GRAPH.valid.shape) + 1.0, 0.0)
TABLE = write_table(VALUES, GRAPH)
BY_NAME = json.loads(to_named_scores(VALUES, GRAPH))
EAP_IG = json.loads(to_eap_ig(Discovered(graph=GRAPH, scores=VALUES), d_model=6))
FIRST = "input->a0.h0<q>"


def without_line(number: int) -> str:
    lines = TABLE.splitlines()
    return "\n".join(lines[:number] + lines[number + 1 :])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected the columns edge,score, got ''"),
        ("a,b\n1,2", "expected the columns edge,score, got 'a,b'"),
        ("edge,edge,score\n", "expected the columns"),
        (TABLE + "m7->m0,1", "unknown edge 'm7->m0'.*no writer 'm7'"),
        (TABLE + "m0->a9.h9<q>,1", r"unknown edge 'm0->a9.h9<q>'.*no reader 'a9.h9<q>'"),
        (TABLE + "m0->a0.h0<q>,1", r"'m0->a0.h0<q>' is not an edge: the reader comes first"),
        (TABLE + f"{FIRST},1", f"edge '{FIRST}' occurs twice"),
        (TABLE + "Resid Start->A0.0.Q,1", "edge 'Resid Start->A0.0.Q' occurs twice"),
        (TABLE + "input->a0.h0,1", "edge 'input->a0.h0' occurs twice"),
        (TABLE + "input m0,1", "edge 'input m0' is not of the form"),
        (without_line(1), f"1 of {len(GRAPH.edges)} edges have no score, such as {FIRST}"),
        (TABLE.replace(",1.0\n", ",nan\n"), f"the score of {FIRST} is NaN"),
        (TABLE.replace(",1.0\n", ",high\n"), f"the score of '{FIRST}' is not a number: 'high'"),
        (TABLE.replace(",1.0\n", ",1.0,3\n"), "row 2 has 3 cells, expected 2"),
        ('edge,score\n"a', "not CSV"),
    ],
)
def test_tables(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_table(text, GRAPH)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"A0.0->MLP 7": 1.0}, "unknown edge 'A0.0->MLP 7'"),
        ({"Resid Start->A0.0.Q": "x"}, "score of 'Resid Start->A0.0.Q' must be a number, got 'x'"),
        ({"Resid Start->A0.0.Q": True}, "must be a number, got True"),
        ({"Resid Start->A0.0.Q": 10**400}, "score of 'Resid Start->A0.0.Q' is too large: 1000"),
        ({"Resid Start->A0.0.Q": float("nan")}, "the score of Resid Start->A0.0.Q is NaN"),
    ],
)
def test_objects(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_named_scores(BY_NAME | change, GRAPH)


def changed(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    graph = json.loads(json.dumps(EAP_IG))
    change(graph)
    return graph


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda g: g["cfg"].update(n_layers=2), "another model: n_layers is 2, this model has 1"),
        (lambda g: g["cfg"].update(n_heads=9), "another model: n_heads is 9"),
        (lambda g: g["cfg"].update(d_model=7), "another model: d_model is 7, this model has 6"),
        (lambda g: g["cfg"].update(parallel_attn_mlp=True), "parallel_attn_mlp is true"),
        (lambda g: g.update(cfg=3), "cfg must be an object, got 3"),
        (lambda g: g.pop("nodes"), "'edges' and 'nodes' must be objects"),
        (lambda g: g["edges"].pop(FIRST), f"1 of {len(GRAPH.edges)} edges have no score"),
        (lambda g: g["edges"][FIRST].pop("score"), f"edge '{FIRST}' has no score, but others have"),
        (lambda g: g["edges"][FIRST].update(score=None), f"score of '{FIRST}' must be a number"),
        (lambda g: g["edges"][FIRST].update(score=float("nan")), f"score of {FIRST} is NaN"),
        (lambda g: g["edges"][FIRST].update(in_graph="x"), f"in_graph of '{FIRST}' must be true"),
        (lambda g: g["edges"].update({FIRST: 3}), f"edge '{FIRST}' must be an object, got 3"),
        (lambda g: g["edges"].update({"m3->logits": {"score": 1}}), "unknown edge 'm3->logits'"),
        (
            lambda g: g["edges"].update({"input->a0.h0": {"score": 1}}),
            "edge 'input->a0.h0' (must say which|occurs twice)",
        ),
        (lambda g: g["nodes"].update(m5={}), "unknown node 'm5'"),
        (lambda g: g["nodes"]["m0"].update(score=1.0), "node input has no score, but others have"),
        (lambda g: g["nodes"]["m0"].update(in_graph=True, neurons=[1, 0]), "parts of node 'm0'"),
    ],
)
def test_graphs_of_eap_ig(change: Callable[[dict[str, Any]], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_eap_ig(changed(change), GRAPH, d_model=6)


def test_an_edge_twice_in_one_graph_of_eap_ig() -> None:
    text = json.dumps(EAP_IG).replace(f'"{FIRST}"', '"input->a0.h1<q>"')
    with pytest.raises(ValueError, match=r"'input->a0.h1<q>' occurs twice"):
        read_eap_ig(text, GRAPH)


def test_a_graph_without_edges() -> None:
    empty = to_eap_ig(Discovered(graph=GRAPH, circuit=Circuit(GRAPH, frozenset())), d_model=6)
    with pytest.raises(ValueError, match="nothing was found"):
        read_eap_ig(empty, GRAPH)


def tensors(**change: Any) -> dict[str, Any]:
    return {
        "cfg": EAP_IG["cfg"],
        "src_nodes": list(GRAPH.writers),
        "dst_nodes": list(GRAPH.readers),
        "edges_scores": VALUES.astype(np.float32),
        "edges_in_graph": VALUES > 3,
        "nodes_in_graph": np.ones(GRAPH.n_writers, bool),
    } | change


def test_tensors_of_eap_ig() -> None:
    found = from_eap_ig_tensors(tensors(), GRAPH, d_model=6)
    assert found.circuit is not None and found.scores is not None
    np.testing.assert_array_equal(found.scores, VALUES)
    np.testing.assert_array_equal(found.circuit.mask, VALUES > 3)
    nodes = np.array([np.nan, 1, 2, 3], np.float32)  # EAP-IG does not score the input
    zeros = np.zeros_like(VALUES)
    found = from_eap_ig_tensors(tensors(edges_scores=zeros, nodes_scores=nodes), GRAPH)
    assert found.scores is not None and found.scores.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"edges_scores": np.zeros((4, 3))}, r"edges_scores has shape \(4, 3\), expected \(4, 8\)"),
        ({"edges_in_graph": np.zeros(3, bool)}, r"edges_in_graph has shape \(3,\)"),
        ({"edges_scores": np.full((4, 8), "x")}, "edges_scores has type <U1, expected numbers"),
        ({"edges_scores": VALUES * np.nan}, f"the score of {FIRST} is NaN"),
        ({"edges_in_graph": ~GRAPH.valid}, "is not an edge: the reader comes first"),
        ({"src_nodes": ["input"]}, r"src_nodes are \['input'\], expected input, a0.h0"),
        ({"nodes_scores": np.array([0, np.nan, 1, 1]), "edges_scores": VALUES * 0}, "a0.h0 is NaN"),
        ({"cfg": {"n_layers": 3}}, "n_layers is 3"),
        ({"neurons_in_graph": np.eye(4, 6) > 0}, "parts of node 'input'"),
    ],
)
def test_tensors_that_do_not_fit(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_eap_ig_tensors(tensors(**change), GRAPH, d_model=6)


def test_tensors_of_something_else() -> None:
    with pytest.raises(ValueError, match="not a graph of EAP-IG: expected cfg, src_nodes"):
        from_eap_ig_tensors({"a": 1}, GRAPH)


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        ([["input", "m9"]], "unknown edge 'input->m9'"),
        ([["input", "m0"], "Resid Start->MLP 0"], "edge 'Resid Start->MLP 0' occurs twice"),
        ([["m0", "a0.h1"]], "'m0->a0.h1' is not an edge: the reader comes first"),
        ([["m0"]], r"must be two names or 'writer->reader', got \['m0'\]"),
        ([[1, 2]], "must be two names"),
        ({"a": 1}, "expected a list of edges, got dict"),
        (["x" * 10_000 + "->m0"], "unknown edge 'xxx"),
    ],
)
def test_lists(edges: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        from_edge_list(edges, GRAPH)
    assert len(str(error.value)) < 1_000


def test_heads_that_cannot_be_merged() -> None:
    circuit = Circuit(GRAPH, frozenset({("input", "a0.h0<q>")}))
    with pytest.raises(ValueError, match="input->a0.h0<k> is not in the circuit"):
        named_circuit(circuit, "ours", heads_merged=True)


def npz(**arrays: Any) -> bytes:
    stream = io.BytesIO()
    names = {"writers": np.array(GRAPH.writers), "readers": np.array(GRAPH.readers)}
    np.savez(stream, **(names | arrays))
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an npz file"),
        (npz(eap=VALUES)[:-50], "not an npz file"),
        (npz(), "no scores of any method"),
        (npz(eap=VALUES, writers=np.array(["input"])), "writers belong to another model"),
        (npz(eap=VALUES[:2]), r"'eap': scores have shape \(2, 8\)"),
        (npz(eap=VALUES * np.nan), f"'eap': the score of {FIRST} is NaN"),
        (npz(eap=np.array(["x"])), "scores of 'eap' have type <U1"),
        (npz(eap=np.array([{}], dtype=object)), "array 'eap' of object"),
    ],
)
def test_arrays(content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_score_arrays(content, GRAPH)


@pytest.mark.parametrize("name", ["file", "readers"])
def test_methods_with_the_name_of_another_array(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=f"a method cannot be named '{name}' here"):
        write_score_arrays(tmp_path / "scores.npz", {name: VALUES}, GRAPH)


def test_an_array_with_a_declared_size_larger_than_memory() -> None:
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000, 1000000), }"
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        size = len(header).to_bytes(2, "little")
        archive.writestr("eap.npy", b"\x93NUMPY\x01\x00" + size + header)
    with pytest.raises(ValueError, match="'eap' of float64 and shape"):
        read_score_arrays(stream.getvalue(), GRAPH)


def test_a_name_that_differs_in_header_and_directory_gives_a_short_error() -> None:
    """The header claims a name of 4,096 bytes; `zipfile` quotes all of them."""
    content = bytearray(npz(eap=np.tile(VALUES, (1, 100))))
    place = content.index(b"eap.npy") - 4  # the length of the name in the header of the entry
    content[place : place + 2] = (4_096).to_bytes(2, "little")
    with pytest.raises(ValueError, match="not an npz file: File name in directory") as error:
        read_score_arrays(bytes(content), GRAPH)
    assert len(str(error.value)) < 600


READERS: dict[str, Callable[[str], Any]] = {
    "table": lambda text: read_table(text, GRAPH),
    "lines": lambda text: read_edge_lines(text, GRAPH),
    "eap_ig": lambda text: read_eap_ig(text, GRAPH),
    "npz": lambda text: read_score_arrays(text.encode("latin-1", "replace"), GRAPH),
}
NAMES = st.sampled_from(["input", "m0", "a0.h1", "a0.h1<q>", "logits", "A0.1", "MLP 0", "a0.h1<"])
EDGES = st.builds("{}->{}".format, NAMES, NAMES)
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(EDGES | st.sampled_from(list(EAP_IG)), inner, max_size=4)
    ),
    max_leaves=12,
)


@pytest.mark.parametrize("reader", READERS)
@given(text=st.text() | st.lists(EDGES).map("\n".join) | st.lists(EDGES).map("edge\n{}".format))
def test_any_text_is_read_or_refused(reader: str, text: str) -> None:
    try:
        assert READERS[reader](text)
    except ValueError as error:
        assert 0 < len(str(error)) < 2_000


@given(JSON, JSON, st.sampled_from(["edges", "nodes", "cfg"]))
def test_any_data_is_read_or_refused(data: Any, part: Any, where: str) -> None:
    for reader, given_data in (
        (from_edge_list, data),
        (from_named_scores, data if isinstance(data, dict) else {"m0->logits": data}),
        (from_eap_ig, {**EAP_IG, where: part}),
        (from_eap_ig_tensors, tensors(edges_scores=part if where == "cfg" else VALUES, cfg=data)),
    ):
        try:
            reader(given_data, GRAPH)
        except ValueError as error:
            assert 0 < len(str(error)) < 2_000


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.pkl", b"", "unknown suffix '.pkl'; known: .json, .pt"),
        ("a.json", b"{}", "no scores and no circuit: expected a graph of EAP-IG"),
        ("a.json", b"{", "cannot be read"),
        ("a.json", b'{"m0->m0": 1, "m0->m0": 2}', "'m0->m0' occurs twice"),
        ("a.json", b'{"n_layers": 3, "n_heads": 1, "edges": []}', "a circuit of Transformer"),
        ("a.csv", b"\xff\xfe", "is not UTF-8"),
        ("a.pt", b"\x80\x04", "a.pt"),
        ("a.npz", b"PK", "not an npz file"),
    ],
)
def test_files(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        read_discovered(tmp_path / name, load_model("3"))
    assert str(error.value).count(str(tmp_path / name)) == 1
