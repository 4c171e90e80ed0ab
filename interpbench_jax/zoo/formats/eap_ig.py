"""Graphs of EAP-IG, which MIB uses too: JSON, and tensors (`.pt`, read only).

A graph has every edge's score and membership in the circuit, and may have scores of nodes instead
of edges. A graph without scores, or whose scores are all 0 (their initial value), is a circuit.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool

from interpbench_jax.files import from_json
from interpbench_jax.files.strict_json import to_python_json
from interpbench_jax.model import Circuit, Graph
from interpbench_jax.model.graph import TransformerGraph, edge_name, split_edge
from interpbench_jax.zoo.formats.discovered import Discovered, marked
from interpbench_jax.zoo.formats.edge_names import (
    quoted,
    read_edges,
    read_number,
    read_scores,
)

_SIZES = ("n_layers", "n_heads")
_TENSORS = (
    *("cfg", "src_nodes", "dst_nodes"),
    *("edges_scores", "edges_in_graph", "nodes_in_graph"),
)


def is_eap_ig(data: Any) -> bool:
    """Whether plain data looks like a graph of EAP-IG."""
    return isinstance(data, dict) and "cfg" in data and isinstance(data.get("edges"), dict)


def from_eap_ig(data: Mapping[str, Any], graph: Graph, *, d_model: int | None = None) -> Discovered:
    """Reads a graph that EAP-IG's `to_json` wrote, or MIB's `importances.json`.

    Args:
      data: content of the file.
      graph: the model's graph.
      d_model: the model's width, to compare with the file's; not compared by default.

    Raises:
      ValueError: the graph belongs to another model; an edge is missing, unknown or occurs twice; a
        score is missing or NaN; or parts of a node are in the circuit.
    """
    _check_sizes(data.get("cfg"), graph, d_model)
    edges, nodes = data.get("edges"), data.get("nodes")
    if not isinstance(edges, dict) or not isinstance(nodes, dict):
        raise ValueError("not a graph of EAP-IG: 'edges' and 'nodes' must be objects")
    for kind, entries in (("edge", edges), ("node", nodes)):
        for name, entry in entries.items():
            if not isinstance(entry, dict):
                raise ValueError(f"{kind} {quoted(name)} must be an object, got {entry!r:.80}")
    by_edge = [(split_edge(name), entry) for name, entry in edges.items()]
    members = [edge for edge, entry in by_edge if _flag(edge_name(*edge), entry)]
    places, merged = read_edges((edge for edge, _ in by_edge), graph)
    if merged:
        (edge, _), _ = next(
            (given, here) for given, here in zip(by_edge, places, strict=True) if len(here) > 1
        )
        raise ValueError(f"edge {quoted(edge_name(*edge))} must say which of q, k and v it reads")
    scored = [edge for edge, entry in by_edge if "score" in entry]
    if scored and len(scored) < len(by_edge):
        bare = next(edge for edge, entry in by_edge if "score" not in entry)
        raise ValueError(f"edge {quoted(edge_name(*bare))} has no score, but others have")
    circuit = Circuit(graph, frozenset(members))
    scores = None
    if scored:
        numbers = [(edge, read_number(edge_name(*edge), entry["score"])) for edge, entry in by_edge]
        scores, _ = read_scores(numbers, graph)
    of_nodes = _node_scores(nodes, graph)
    _check_neurons(nodes)
    return _discovered(graph, scores, of_nodes, circuit)


def to_eap_ig(discovered: Discovered, *, d_model: int) -> str:
    """The JSON that EAP-IG's `Graph.from_json` and MIB read; undone by `from_eap_ig`.

    Infinite scores are written as in Python's JSON, which both tools read. Without scores, all
    scores are 0; without a circuit, no edge is in it. An empty circuit without scores cannot be
    read back.

    Args:
      discovered: scores of edges or nodes, a circuit, or both.
      d_model: width of the model.

    Raises:
      ValueError: the network is not a transformer.
    """
    graph = discovered.graph
    if not isinstance(graph, TransformerGraph):
        raise ValueError(f"EAP-IG has graphs of transformers only, not of {graph}")
    scores, circuit = discovered.scores, discovered.circuit
    of_nodes = scores if scores is not None and scores.ndim == 1 else None
    of_edges = scores if scores is not None and scores.ndim == 2 else np.zeros(graph.valid.shape)
    members = np.zeros(graph.valid.shape, bool) if circuit is None else circuit.mask
    touched = {"logits"} if circuit is None else {*circuit.nodes, "logits"}
    nodes: dict[str, dict[str, Any]] = {
        name: {"in_graph": name in touched} for name in (*graph.writers, graph.readers[-1])
    }
    if of_nodes is not None:
        for name, score in zip(graph.writers, of_nodes.tolist(), strict=True):
            nodes[name]["score"] = score
    edges = {
        edge_name(graph.writers[w], graph.readers[r]): {
            "score": float(of_edges[w, r]),
            "in_graph": bool(members[w, r]),
        }
        for w, r in graph.edges
    }
    sizes = {
        "n_layers": graph.n_layers,
        "n_heads": graph.n_heads,
        "parallel_attn_mlp": False,
        "d_model": d_model,
    }
    return to_python_json({"cfg": sizes, "nodes": nodes, "edges": edges})


def from_eap_ig_tensors(data: Any, graph: Graph, *, d_model: int | None = None) -> Discovered:
    """Reads what EAP-IG's `to_pt` wrote, converted to plain arrays.

    Args:
      data: content of the file: a dict of arrays and names.
      graph: the model's graph.
      d_model: as in `from_eap_ig`.

    Raises:
      ValueError: as `from_eap_ig`; or something is missing, or an array has another shape.
    """
    if not isinstance(data, dict) or any(name not in data for name in _TENSORS):
        found = sorted(map(str, data)) if isinstance(data, dict) else type(data).__name__
        wanted = ", ".join(_TENSORS)
        raise ValueError(f"not a graph of EAP-IG: expected {wanted}, got {found!s:.200}")
    _check_sizes(data["cfg"], graph, d_model)
    for kind, names, expected in (
        ("src_nodes", data["src_nodes"], graph.writers),
        ("dst_nodes", data["dst_nodes"], graph.readers),
    ):
        if tuple(names) != expected:
            raise ValueError(f"{kind} are {list(names)!s:.200}, expected {', '.join(expected)}")
    members = _array(data["edges_in_graph"], "edges_in_graph", graph.valid.shape).astype(bool)
    scores = _array(data["edges_scores"], "edges_scores", graph.valid.shape)
    scores = np.where(graph.valid, scores.astype(np.float64), 0.0)
    of_nodes = None
    if data.get("nodes_scores") is not None:
        of_nodes = _array(data["nodes_scores"], "nodes_scores", (graph.n_writers,))
        of_nodes = _without_input(of_nodes.astype(np.float64), graph)
    if data.get("neurons_in_graph") is not None:
        _whole_nodes(np.asarray(data["neurons_in_graph"]), data["nodes_in_graph"], graph)
    return _discovered(graph, scores, of_nodes, marked(graph, members))


def read_eap_ig(text: str | bytes, graph: Graph, *, d_model: int | None = None) -> Discovered:
    """`from_eap_ig` for the text of a file.

    Raises:
      ValueError: it is not JSON; or as `from_eap_ig`.
    """
    data = from_json(text, source="the graph", constants=True)
    if not is_eap_ig(data):
        raise ValueError("not a graph of EAP-IG: expected an object of cfg, nodes and edges")
    return from_eap_ig(data, graph, d_model=d_model)


def _discovered(
    graph: Graph, scores: np.ndarray | None, of_nodes: np.ndarray | None, circuit: Circuit
) -> Discovered:
    """Prefers scores of edges to scores of nodes; a graph without either is a circuit."""
    if scores is not None and not scores.any():
        scores = None
    found = of_nodes if scores is None else scores
    if found is None and not circuit.edges:
        raise ValueError("all scores are 0 and no edge is in the circuit: nothing was found")
    return Discovered(graph=graph, scores=found, circuit=circuit if circuit.edges else None)


def _check_sizes(sizes: Any, graph: Graph, d_model: int | None) -> None:
    if not isinstance(graph, TransformerGraph):
        raise ValueError(f"EAP-IG has graphs of transformers only, not of {graph}")
    if not isinstance(sizes, dict):
        raise ValueError(f"cfg must be an object, got {sizes!r:.80}")
    expected = {name: getattr(graph, name) for name in _SIZES}
    if d_model is not None:
        expected["d_model"] = d_model
    for name, size in expected.items():
        if sizes.get(name, size if name == "d_model" else None) != size:
            raise ValueError(
                f"the graph belongs to another model: {name} is {sizes.get(name)!r:.80}, this "
                f"model has {size}"
            )
    if sizes.get("parallel_attn_mlp"):
        raise ValueError("the graph belongs to another model: parallel_attn_mlp is true")


def _flag(name: str, entry: Mapping[str, Any]) -> bool:
    flag = entry.get("in_graph", False)
    if type(flag) is not bool and flag not in (0, 1):
        raise ValueError(f"in_graph of {quoted(name)} must be true or false, got {flag!r:.80}")
    return bool(flag)


def _node_scores(nodes: Mapping[str, Mapping[str, Any]], graph: Graph) -> np.ndarray | None:
    """Scores of writers; None if there are none. Scores of other nodes are ignored."""
    unknown = nodes.keys() - set(graph.writers) - set(graph.head_readers)
    if unknown:
        raise ValueError(f"unknown node {quoted(min(unknown))}: the model is {graph}")
    if not any("score" in entry for entry in nodes.values()):
        return None
    if missing := [name for name in graph.writers if "score" not in nodes.get(name, {})]:
        raise ValueError(f"node {missing[0]} has no score, but others have")
    scores = np.array([read_number(name, nodes[name]["score"]) for name in graph.writers])
    return _without_input(scores, graph)


def _without_input(scores: np.ndarray, graph: Graph) -> np.ndarray:
    """Replaces the input's score, which is NaN in EAP-IG: the input is in every circuit."""
    inputs = np.array([name == "input" for name in graph.writers])
    return np.where(inputs & np.isnan(scores), 0.0, scores)


def _check_neurons(nodes: Mapping[str, Mapping[str, Any]]) -> None:
    for name, entry in nodes.items():
        neurons = entry.get("neurons")
        if entry.get("in_graph") and isinstance(neurons, list) and not all(neurons):
            raise ValueError(_torn(name))


def _whole_nodes(neurons: np.ndarray, members: Any, graph: Graph) -> None:
    inside = np.asarray(members).astype(bool)
    if neurons.ndim == 2 and len(neurons) == len(inside) == graph.n_writers:
        torn = inside & ~neurons.astype(bool).all(1)
        if torn.any():
            raise ValueError(_torn(graph.writers[int(torn.argmax())]))


def _torn(name: str) -> str:
    return f"parts of node {quoted(name)} are in the circuit; expected whole nodes, or edges"


def _array(value: Any, name: str, shape: tuple[int, ...]) -> Bool[np.ndarray, "..."] | np.ndarray:
    array = np.asarray(value)
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}, expected {shape}")
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name} has type {array.dtype}, expected numbers")
    return array
