"""A circuit: a set of edges of a model's graph."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from reprlib import repr as short
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Bool

from interpbench_jax.files import from_json, to_json
from interpbench_jax.model.config import check_graph_size
from interpbench_jax.model.graph import (
    Edge,
    Graph,
    TransformerGraph,
    edge_name,
    node_of,
    split_edge,
    transformer_graph,
)

# The most (writer, reader) pairs of a graph given by names; more would not fit into memory.
_MOST_PAIRS = 10**8
_NAMES = ("writers", "readers", "n_before")

CircuitKind = Literal["attention", "MLPs", "one MLP"]
CIRCUIT_KINDS: tuple[CircuitKind, ...] = get_args(CircuitKind)
"""Kinds of circuits. Statistics are separate, since almost any method finds a single MLP."""


@dataclass(frozen=True)
class Circuit:
    """Edges by name, at q/k/v level; immutable and hashable.

    Supports `|`, `&`, `-`, `<=`, `len`, `in` and iteration (in graph order), over all edges. When
    two circuits are combined, an edge that is unobservable in either stays unobservable.

    Attributes:
      graph: the network's graph.
      edges: all edges of the circuit.
      unobservable: the edges of the circuit that no patch can reveal; they count neither for nor
        against a method.

    Raises:
      ValueError: an edge is not in the graph, or an unobservable one is not in the circuit.
    """

    graph: Graph
    edges: frozenset[Edge]
    unobservable: frozenset[Edge] = frozenset()

    def _repr_svg_(self) -> str:
        """A drawing at head level, which notebooks show; unobservable edges are dashed."""
        from interpbench_jax.model.circuit_svg import circuit_svg, standing_alone

        seen = self.observable.head_edges
        kinds = {"unobservable": self.head_edges - seen, "true": seen}
        drawing = circuit_svg(self.graph, kinds, f"{len(self.head_edges)} edges")
        return standing_alone(self.graph, {f"circuit: {len(self.head_edges)} edges": drawing})

    def __post_init__(self) -> None:
        """Checks that every edge is in the graph and every unobservable edge in the circuit."""
        for writer, reader in self.edges:
            w, r = self.graph.writer_index(writer), self.graph.reader_index(reader)
            if w >= self.graph.n_before[r]:
                name = edge_name(writer, reader)
                raise ValueError(f"{name} is not an edge: the reader comes first")
        if strange := self.unobservable - self.edges:
            raise ValueError(f"{edge_name(*min(strange))} is unobservable, but not in the circuit")

    @classmethod
    def from_mask(cls, graph: Graph, mask: Bool[np.ndarray, "writer reader"]) -> "Circuit":
        """The circuit of all edges where the mask is true.

        Raises:
          ValueError: the mask does not fit the graph.
        """
        if mask.shape != graph.valid.shape:
            raise ValueError(f"mask has shape {mask.shape}, expected {graph.valid.shape}")
        chosen = np.argwhere(np.asarray(mask) & graph.valid)
        return cls(graph, frozenset((graph.writers[w], graph.readers[r]) for w, r in chosen))

    @property
    def mask(self) -> Bool[np.ndarray, "writer reader"]:
        """True at the circuit's edges."""
        mask = np.zeros(self.graph.valid.shape, bool)
        for writer, reader in self.edges:
            mask[self.graph.writer_index(writer), self.graph.reader_index(reader)] = True
        return mask

    @property
    def head_mask(self) -> Bool[np.ndarray, "writer head_reader"]:
        """True at the circuit's edges with q, k and v merged."""
        return self.graph.to_head_level(self.mask)

    @property
    def head_edges(self) -> frozenset[Edge]:
        """The edges with q, k and v of a head merged, as in `("a0.h1", "a1.h0")`."""
        return frozenset((writer, node_of(reader)) for writer, reader in self.edges)

    @property
    def nodes(self) -> frozenset[str]:
        """Every writer and (head-level) reader that an edge touches."""
        return frozenset(name for edge in self.head_edges for name in edge)

    @property
    def observable(self) -> "Circuit":
        """The circuit without its unobservable edges.

        A head-level edge or node that has no observable edge is dropped too.
        """
        return Circuit(self.graph, self.edges - self.unobservable)

    def to_json(self) -> str:
        """Text from which `from_json` makes an equal circuit."""
        graph = self.graph
        if isinstance(graph, TransformerGraph):
            described: dict[str, Any] = {"n_layers": graph.n_layers, "n_heads": graph.n_heads}
            described |= {"parallel": True} if graph.parallel else {}
        else:
            described = {name: getattr(graph, name) for name in _NAMES}
        described["edges"] = [edge_name(*edge) for edge in self]
        if self.unobservable:
            hidden = Circuit(graph, self.unobservable)
            described["unobservable"] = [edge_name(*edge) for edge in hidden]
        return to_json(described, indent=1)

    @classmethod
    def from_json(cls, text: str | bytes) -> "Circuit":
        """Reads what `to_json` wrote; checks the text before it builds a graph.

        Raises:
          ValueError: the text has another form, names an edge that does not exist, or describes a
            graph that is too large.
        """
        start = repr(text[:80])
        try:
            data = from_json(text, source=start)
        except ValueError as error:
            raise ValueError(f"not a circuit: {error}") from error
        if not isinstance(data, dict) or "edges" not in data:
            raise ValueError(f"not a circuit: no edges in {start}")
        graph = _read_graph(data, start)
        edges = _read_edges(data["edges"], f"edges are not a list of names in {start}")
        unobservable = _read_edges(
            data.get("unobservable", []), f"unobservable is not a list of names in {start}"
        )
        return cls(graph, edges, unobservable)

    def __iter__(self) -> Iterator[Edge]:
        """Edges in graph order."""
        return iter(
            sorted(
                self.edges,
                key=lambda e: (self.graph.writer_index(e[0]), self.graph.reader_index(e[1])),
            )
        )

    def __len__(self) -> int:
        """Number of edges."""
        return len(self.edges)

    def __contains__(self, edge: Edge) -> bool:
        """Whether the edge belongs to the circuit."""
        return edge in self.edges

    def __or__(self, other: "Circuit") -> "Circuit":
        """Edges in either."""
        return self._combined(other, self.edges | other.edges)

    def __and__(self, other: "Circuit") -> "Circuit":
        """Edges in both."""
        return self._combined(other, self.edges & other.edges)

    def __sub__(self, other: "Circuit") -> "Circuit":
        """Edges of this one that the other lacks."""
        return self._combined(other, self.edges - other.edges)

    def __le__(self, other: "Circuit") -> bool:
        """Whether every edge is in the other."""
        return self.graph == other.graph and self.edges <= other.edges

    def _combined(self, other: "Circuit", edges: Iterable[Edge]) -> "Circuit":
        if self.graph != other.graph:
            raise ValueError(f"circuits of different graphs: {self.graph} and {other.graph}")
        edges = frozenset(edges)
        return Circuit(self.graph, edges, (self.unobservable | other.unobservable) & edges)


def circuit_kind(circuit: Circuit) -> CircuitKind:
    """`attention` if the circuit has a head; else `MLPs`, or `one MLP`, which any method finds."""
    nodes = circuit.nodes - {"input", "logits"}
    if any(node.startswith("a") for node in nodes):
        return "attention"
    return "MLPs" if len(nodes) > 1 else "one MLP"


def _read_edges(names: Any, fault: str) -> frozenset[Edge]:
    """Splits edge names into (writer, reader); does not check that the edges exist."""
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"not a circuit: {fault}")
    return frozenset(map(split_edge, names))


def _read_graph(data: dict[str, Any], start: str) -> Graph:
    """A transformer's graph from its sizes, any other graph from its names."""
    if {"n_layers", "n_heads"} <= data.keys():
        n_layers, n_heads = data["n_layers"], data["n_heads"]
        for size in (n_layers, n_heads):
            if type(size) is not int or size < 1:
                raise ValueError(
                    f"a circuit needs whole positive sizes, got {short(json.dumps(size))}"
                )
        check_graph_size(n_layers, n_heads)
        parallel = data.get("parallel", False)
        if type(parallel) is not bool:
            raise ValueError(f"parallel must be true or false, got {short(json.dumps(parallel))}")
        return transformer_graph(n_layers, n_heads, parallel=parallel)
    if not all(isinstance(data.get(name), list) for name in _NAMES):
        raise ValueError(
            f"not a circuit: neither n_layers and n_heads nor {', '.join(_NAMES)} in {start}"
        )
    if len(data["writers"]) * len(data["readers"]) > _MOST_PAIRS:
        raise ValueError(
            f"a graph of more than {_MOST_PAIRS} pairs of writer and reader is too large"
        )
    writers, readers, n_before = (data[name] for name in _NAMES)
    if not all(isinstance(name, str) for name in [*writers, *readers]):
        raise ValueError(f"not a circuit: names must be text in {start}")
    if not all(type(n) is int for n in n_before):
        raise ValueError(f"not a circuit: n_before must be whole numbers in {start}")
    return Graph(tuple(writers), tuple(readers), tuple(n_before))
