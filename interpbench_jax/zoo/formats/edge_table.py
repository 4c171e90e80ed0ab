"""Scores by the names of edges: CSV with columns `edge,score`, and JSON objects.

Edges may have the names of any tool, see `edge_names`.
"""

import csv
import io
from typing import Any

import numpy as np
from jaxtyping import Float

from interpbench_jax.files.strict_json import to_python_json
from interpbench_jax.model import Graph
from interpbench_jax.model.graph import edge_name, split_edge
from interpbench_jax.zoo.formats.discovered import Discovered
from interpbench_jax.zoo.formats.edge_names import (
    Naming,
    named_scores,
    quoted,
    read_circuit,
    read_number,
    read_scores,
)


def read_table(text: str, graph: Graph) -> Discovered:
    """Reads CSV with a header: `edge,score`, or `edge` alone for a circuit.

    Args:
      text: content of the file. Other columns are ignored.
      graph: the model's graph.

    Raises:
      ValueError: there is no column `edge`, a row has another form, a score is not a number, or as
        `read_scores` and `read_circuit`.
    """
    try:
        rows = list(csv.reader(io.StringIO(text.removeprefix("\ufeff")), strict=True))
    except csv.Error as error:
        raise ValueError(f"not CSV: {error}") from error
    header = [name.strip() for name in rows[0]] if rows else []
    if header.count("edge") != 1 or header.count("score") > 1:
        raise ValueError(f"expected the columns edge,score, got {','.join(header)[:200]!r}")
    at = header.index("edge")
    body = [(line, row) for line, row in enumerate(rows[1:], start=2) if row]
    for line, row in body:
        if len(row) != len(header):
            raise ValueError(f"row {line} has {len(row)} cells, expected {len(header)}")
    edges = [split_edge(row[at]) for _, row in body]
    if "score" not in header:
        circuit, merged = read_circuit(edges, graph)
        return Discovered(graph=graph, circuit=circuit, heads_merged=merged)
    numbers = [_number(row[header.index("score")], row[at]) for _, row in body]
    scores, merged = read_scores(zip(edges, numbers, strict=True), graph)
    return Discovered(graph=graph, scores=scores, heads_merged=merged)


def write_table(
    scores: Float[np.ndarray, "writer reader"], graph: Graph, *, naming: Naming = "ours"
) -> str:
    """CSV with columns `edge,score`, every edge in graph order; undone by `read_table`.

    Numbers are written with full precision.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("edge", "score"))
    for edge, score in named_scores(scores, graph, naming):
        writer.writerow((edge_name(*edge), repr(score)))
    return text.getvalue()


def from_named_scores(data: dict[str, Any], graph: Graph) -> Discovered:
    """Reads an object with scores by edge, as in `{"A0.1->MLP 0": 0.5}`.

    Raises:
      ValueError: a score is not a number; or as `read_scores`.
    """
    given = []
    for name, score in data.items():
        given.append((split_edge(name), read_number(name, score)))
    scores, merged = read_scores(given, graph)
    return Discovered(graph=graph, scores=scores, heads_merged=merged)


def to_named_scores(
    scores: Float[np.ndarray, "writer reader"], graph: Graph, *, naming: Naming = "auto-circuit"
) -> str:
    """JSON with scores by edge, in the names of auto-circuit; undone by `from_named_scores`."""
    return to_python_json(
        {edge_name(*edge): score for edge, score in named_scores(scores, graph, naming)}
    )


def _number(cell: str, edge: str) -> float:
    try:
        return float(cell)
    except ValueError:
        raise ValueError(f"the score of {quoted(edge)} is not a number: {cell[:80]!r}") from None
