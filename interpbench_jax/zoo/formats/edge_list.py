"""Circuits as lists of edges: JSON (pairs of names, or `writer->reader`), or one edge per line.

Edges may have the names of any tool, see `edge_names`; InterpBench writes pairs of TransformerLens
names, with q, k and v merged.
"""

from typing import Any

from interpbench_jax.files import to_json
from interpbench_jax.model import Circuit, Graph
from interpbench_jax.model.circuit import Edge
from interpbench_jax.model.graph import edge_name, split_edge
from interpbench_jax.zoo.formats.discovered import Discovered
from interpbench_jax.zoo.formats.edge_names import Naming, named_circuit, read_circuit


def from_edge_list(data: Any, graph: Graph) -> Discovered:
    """Reads a list of edges.

    Args:
      data: pairs of names, or names of the form `writer->reader`.
      graph: the model's graph.

    Raises:
      ValueError: an entry is neither of these; or as `read_circuit`.
    """
    if not isinstance(data, list | tuple):
        raise ValueError(f"expected a list of edges, got {type(data).__name__}")
    circuit, merged = read_circuit([_edge(entry) for entry in data], graph)
    return Discovered(graph=graph, circuit=circuit, heads_merged=merged)


def to_edge_list(
    circuit: Circuit, *, naming: Naming = "transformer-lens", heads_merged: bool = False
) -> str:
    """JSON of pairs of names, in graph order; undone by `from_edge_list`.

    Args:
      circuit: the circuit.
      naming: the tool whose names are used.
      heads_merged: whether the edges into q, k and v of a head become one.

    Raises:
      ValueError: as `named_circuit`.
    """
    return to_json(
        [list(edge) for edge in named_circuit(circuit, naming, heads_merged=heads_merged)], indent=1
    )


def read_edge_lines(text: str, graph: Graph) -> Discovered:
    """Reads one edge per line, as in `m0->a1.h0<q>`; empty lines are ignored.

    Raises:
      ValueError: a line has another form; or as `read_circuit`.
    """
    return from_edge_list([line.strip() for line in text.splitlines() if line.strip()], graph)


def write_edge_lines(
    circuit: Circuit, *, naming: Naming = "ours", heads_merged: bool = False
) -> str:
    """One edge per line, in graph order; undone by `read_edge_lines`.

    Args:
      circuit: the circuit.
      naming: the tool whose names are used.
      heads_merged: whether the edges into q, k and v of a head become one.

    Raises:
      ValueError: as `named_circuit`.
    """
    edges = named_circuit(circuit, naming, heads_merged=heads_merged)
    return "".join(f"{edge_name(*edge)}\n" for edge in edges)


def _edge(entry: Any) -> Edge:
    if isinstance(entry, str):
        return split_edge(entry)
    if (
        isinstance(entry, list | tuple)
        and len(entry) == 2
        and all(isinstance(name, str) for name in entry)
    ):
        return entry[0], entry[1]
    raise ValueError(f"an edge must be two names or 'writer->reader', got {entry!r:.80}")
