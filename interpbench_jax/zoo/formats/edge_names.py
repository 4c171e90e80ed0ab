"""Names of a transformer's nodes and edges in other tools.

| tool | head | MLP | ends |
|---|---|---|---|
| here, EAP-IG, MIB | `a0.h1`, reads by `a0.h1<q>` | `m0` | `input`, `logits` |
| auto-circuit | `A0.1`, reads by `A0.1.Q` | `MLP 0` | `Resid Start`, `Resid End` |
| TransformerLens | `blocks.0.attn.hook_result[1]`, reads by `blocks.0.hook_q_input[1]` |
  `blocks.0.hook_mlp_out`, reads by `blocks.0.hook_mlp_in` |
  `blocks.0.hook_resid_pre`, `blocks.1.hook_resid_post` |

If q, k and v are merged, a head as a reader has the same name as a writer; InterpBench's own lists
of edges, in TransformerLens names, name every reader by its output.

No two tools use the same name for different things, so files with any tool's names can be read.
"""

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from interpbench_jax.model import Circuit, Graph
from interpbench_jax.model.circuit import Edge
from interpbench_jax.model.graph import TransformerGraph, edge_name

Naming = Literal["ours", "auto-circuit", "transformer-lens"]
"""`ours` is also used by EAP-IG and MIB."""

_HEAD = re.compile(r"a(\d+)\.h(\d+)(?:<([qkv])>)?")
_MLP = re.compile(r"m(\d+)")
_LONGEST = 200


def written_edge(edge: Edge, graph: Graph, naming: Naming) -> Edge:
    """An edge in the names of a tool.

    Args:
      edge: the edge in our names; a reader without `<q>` is a whole head.
      graph: the model's graph.
      naming: the tool whose names are used.

    Raises:
      ValueError: the tool has no name for it, as the network is not a transformer.
    """
    writer, reader = edge
    return _called(writer, graph, naming, reads=False), _called(reader, graph, naming, reads=True)


def read_edges(edges: Iterable[Edge], graph: Graph) -> tuple[list[list[tuple[int, int]]], bool]:
    """Looks up edges in any tool's names.

    Args:
      edges: names of a writer and a reader.
      graph: the model's graph.

    Returns:
      For each edge, the (writer, reader) indices of the edges that it stands for: one, or three if
      q, k and v are merged. And whether any edge was merged.

    Raises:
      ValueError: there is no such writer, reader or edge, or an edge occurs twice.
    """
    names = _names(graph)
    seen: set[tuple[int, int]] = set()
    found, merged = [], False
    for writer, reader in edges:
        called = edge_name(writer, reader)
        if writer not in names.writers:
            raise ValueError(_unknown(called, writer, "writer", graph))
        if reader not in names.readers:
            raise ValueError(_unknown(called, reader, "reader", graph))
        places = [(names.writers[writer], r) for r in names.readers[reader]]
        if not all(graph.valid[place] for place in places):
            raise ValueError(f"{quoted(called)} is not an edge: the reader comes first")
        if not seen.isdisjoint(places):
            raise ValueError(f"edge {quoted(called)} occurs twice")
        seen.update(places)
        merged |= len(places) > 1
        found.append(places)
    return found, merged


def read_scores(
    scores: Iterable[tuple[Edge, float]], graph: Graph
) -> tuple[Float[np.ndarray, "writer reader"], bool]:
    """Scores by edge as a matrix.

    Args:
      scores: edges in any tool's names, with their scores. The score of an edge into a whole head
        applies to its q, k and v.
      graph: the model's graph.

    Returns:
      The matrix, 0 where there is no edge; and whether q, k and v were merged.

    Raises:
      ValueError: as `read_edges`; or an edge of the model has no score.
    """
    given = list(scores)
    places, merged = read_edges((edge for edge, _ in given), graph)
    matrix = np.where(graph.valid, np.nan, 0.0)
    for (edge, score), here in zip(given, places, strict=True):
        if np.isnan(score):
            raise ValueError(f"the score of {edge_name(*edge)} is NaN")
        for place in here:
            matrix[place] = score
    missing = np.argwhere(np.isnan(matrix))
    if len(missing):
        writer, reader = missing[0]
        name = edge_name(graph.writers[writer], graph.readers[reader])
        raise ValueError(
            f"{len(missing)} of {len(graph.edges)} edges have no score, such as {name}"
        )
    return matrix, merged


def named_scores(
    scores: Float[np.ndarray, "writer reader"], graph: Graph, naming: Naming
) -> list[tuple[Edge, float]]:
    """Every edge in a tool's names, with its score, in graph order; undone by `read_scores`."""
    return [
        (
            written_edge((graph.writers[writer], graph.readers[reader]), graph, naming),
            float(scores[writer, reader]),
        )
        for writer, reader in graph.edges
    ]


def read_circuit(edges: Iterable[Edge], graph: Graph) -> tuple[Circuit, bool]:
    """Edges in any tool's names as a circuit, and whether q, k and v were merged.

    Raises:
      ValueError: as `read_edges`.
    """
    places, merged = read_edges(edges, graph)
    mask = np.zeros(graph.valid.shape, bool)
    for here in places:
        for place in here:
            mask[place] = True
    return Circuit.from_mask(graph, mask), merged


def named_circuit(circuit: Circuit, naming: Naming, *, heads_merged: bool = False) -> list[Edge]:
    """The edges of a circuit in a tool's names, in graph order; undone by `read_circuit`.

    Args:
      circuit: the circuit.
      naming: the tool whose names are used.
      heads_merged: whether the edges into q, k and v of a head become one.

    Raises:
      ValueError: `heads_merged` is true, but the circuit has only some of the three edges from a
        writer to a head, and so could not be read back.
    """
    graph = circuit.graph
    if not heads_merged:
        return [written_edge(edge, graph, naming) for edge in circuit]
    whole = circuit.head_mask[:, graph.reader_head_index] & graph.valid
    if torn := np.argwhere(whole & ~circuit.mask).tolist():
        writer, reader = torn[0]
        name = edge_name(graph.writers[writer], graph.readers[reader])
        raise ValueError(f"heads cannot be merged: {name} is not in the circuit, its q, k or v is")
    merged = np.argwhere(circuit.head_mask)
    edges = [(graph.writers[w], graph.head_readers[r]) for w, r in merged]
    return [written_edge(edge, graph, naming) for edge in edges]


def read_number(called: str, value: Any) -> float:
    """A score from a file.

    Args:
      called: the edge or node that it is the score of, for messages.
      value: the value in the file.

    Raises:
      ValueError: it is not a number, or too large for a float.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"the score of {quoted(called)} must be a number, got {value!r:.80}")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"the score of {quoted(called)} is too large: {value!r:.80}") from None


def quoted(text: str) -> str:
    """A name from a file, shortened for an error message: it may have any length."""
    return repr(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}...")


@dataclass(frozen=True)
class _Names:
    """The names of writers and readers in all tools."""

    writers: dict[str, int]
    readers: dict[str, tuple[int, ...]]


@functools.lru_cache(maxsize=8)
def _names(graph: Graph) -> _Names:
    namings: tuple[Naming, ...] = ("ours",)
    if isinstance(graph, TransformerGraph):
        namings = ("ours", "auto-circuit", "transformer-lens")
    writers: dict[str, int] = {}
    readers: dict[str, tuple[int, ...]] = {}
    for naming in namings:
        for place, name in enumerate(graph.writers):
            writers[_called(name, graph, naming, reads=False)] = place
        for place, name in enumerate(graph.readers):
            readers[_called(name, graph, naming, reads=True)] = (place,)
        for head, name in enumerate(graph.head_readers):
            places = tuple(np.flatnonzero(graph.reader_head_index == head).tolist())
            readers[_called(name, graph, naming, reads=True)] = places
            if naming == "transformer-lens" and name in graph.writers:
                readers[_called(name, graph, naming, reads=False)] = places
    return _Names(writers, readers)


def _called(name: str, graph: Graph, naming: Naming, *, reads: bool) -> str:
    if naming == "ours":
        return name
    if not isinstance(graph, TransformerGraph):
        raise ValueError(f"{naming} has names for transformers only, not for {graph}")
    if naming == "auto-circuit":
        return _in_auto_circuit(name)
    return _in_transformer_lens(name, graph, reads)


def _in_auto_circuit(name: str) -> str:
    if head := _HEAD.fullmatch(name):
        layer, place, kind = head.groups()
        return f"A{layer}.{place}" + (f".{kind.upper()}" if kind else "")
    if mlp := _MLP.fullmatch(name):
        return f"MLP {mlp.group(1)}"
    return {"input": "Resid Start", "logits": "Resid End"}[name]


def _in_transformer_lens(name: str, graph: TransformerGraph, reads: bool) -> str:
    if head := _HEAD.fullmatch(name):
        layer, place, kind = head.groups()
        if kind:
            return f"blocks.{layer}.hook_{kind}_input[{place}]"
        return f"blocks.{layer}.attn.hook_result[{place}]"
    if mlp := _MLP.fullmatch(name):
        return f"blocks.{mlp.group(1)}.hook_mlp_{'in' if reads else 'out'}"
    return {
        "input": "blocks.0.hook_resid_pre",
        "logits": f"blocks.{graph.n_layers - 1}.hook_resid_post",
    }[name]


def _unknown(edge: str, name: str, kind: str, graph: Graph) -> str:
    examples = graph.writers[:2] if kind == "writer" else (graph.readers[0], graph.readers[-1])
    return (
        f"unknown edge {quoted(edge)}: the model, {graph}, has no {kind} {quoted(name)}; expected "
        f"names such as {' and '.join(examples)}"
    )
