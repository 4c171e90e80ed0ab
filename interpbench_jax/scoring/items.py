"""What is ranked and which of it is true: the edges or nodes that a score is about."""

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Float

from interpbench_jax.discovery import Selection
from interpbench_jax.model import Circuit, Graph
from interpbench_jax.scoring.greedy import greedy_places
from interpbench_jax.scoring.node_scores import By, edge_scores_of_nodes

Level = Literal["head", "qkv"]
"""Whether the edges into q, k and v of a head count as one (`head`) or as three (`qkv`)."""
EdgeScores = Float[Array | np.ndarray, "writer reader"]
NodeScores = Float[Array | np.ndarray, " writer"]

TOLERANCE = 1e-7
"""Scores smaller than this share of the largest finite one are rounding, and count as 0: about the
resolution of float32, in which losses and gradients are computed."""


class Items(NamedTuple):
    """Edges or nodes that are judged, in graph order.

    Attributes:
      values: the larger, the more it matters. By `top_n` the size of the score; by `greedy` the
        place in the search counted from its end, see `greedy_places`.
      positive: whether the true circuit has it.
    """

    values: Float[np.ndarray, " item"]
    positive: Bool[np.ndarray, " item"]


def edge_items(
    scores: EdgeScores | NodeScores,
    truth: Circuit,
    *,
    level: Level = "head",
    selection: Selection = "top_n",
) -> Items:
    """The edges that are judged: all but `input->logits` and those that no patch can reveal.

    Args:
      scores: of any method; those of nodes become scores of edges by `edge_scores_of_nodes`.
      truth: the circuit to be found.
      level: `head` merges q, k and v of a head by the largest score; `qkv` keeps them apart.
      selection: what edges are ranked by: their own scores, or the search from the logits.

    Raises:
      ValueError: the scores do not fit the circuit's graph, or contain NaN.
    """
    scored = scored_edges(truth.graph, level)
    values = edge_ranking(scores, truth.graph, level=level, selection=selection, edges=scored)
    judged = judged_edges(truth, level)
    return Items(values[judged], true_edges(truth, level)[judged])


def true_edges(truth: Circuit, level: Level) -> Bool[np.ndarray, "writer reader"]:
    """True at the circuit's edges that a patch can reveal.

    At level `head` a merged edge is true if any of its edges is.
    """
    return truth.observable.mask if level == "qkv" else truth.observable.head_mask


def judged_edges(truth: Circuit, level: Level) -> Bool[np.ndarray, "writer reader"]:
    """True at the scored edges but for the circuit's unobservable ones, neither true nor false.

    At level `head` a merged edge is left out if the circuit has only unobservable ones of it.
    """
    circuit = truth.mask if level == "qkv" else truth.head_mask
    return scored_edges(truth.graph, level) & ~(circuit & ~true_edges(truth, level))


def scored_edges(graph: Graph, level: Level) -> Bool[np.ndarray, "writer reader"]:
    """True at all edges but `input->logits`; at level `head` readers are those of that level."""
    scored = graph.valid.copy()
    if graph.writers[0] == "input" and graph.readers[-1] == "logits":
        scored[0, -1] = False
    return scored if level == "qkv" else graph.to_head_level(scored)


def edge_ranking(
    scores: EdgeScores | NodeScores,
    graph: Graph,
    *,
    level: Level,
    selection: Selection,
    edges: Bool[np.ndarray, "level_writer level_reader"],
    by: By = "absolute",
) -> Float[np.ndarray, "level_writer level_reader"]:
    """A number per edge: the larger, the earlier a selection takes it; equal where it is chance.

    Args:
      scores: of any method.
      graph: the model's graph.
      level: see `edge_items`.
      selection: what edges are ranked by.
      edges: those that may be taken, at that level; numbers of others have no meaning.
      by: what a large score is.

    Raises:
      ValueError: the scores do not fit the graph, or contain NaN.
    """
    values = _edge_values(scores, graph, by)
    if level == "head":
        values = graph.to_head_level(values)
    if selection == "top_n":
        return values
    nodes = graph.reader_writer if level == "qkv" else graph.head_reader_writer
    return greedy_places(values, edges, nodes)


def node_items(
    scores: EdgeScores | NodeScores, truth: Circuit, *, selection: Selection = "top_n"
) -> Items:
    """All writers but the input, with their own scores or the largest of an edge that touches them.

    A node is true if an edge of the circuit touches it. It is left out if the circuit has only
    unobservable ones of these. By `greedy` a node is reached with the first edge that leaves it.

    Raises:
      ValueError: the scores do not fit the circuit's graph, or contain NaN.
    """
    graph = truth.graph
    if np.ndim(scores) == 1 and selection == "top_n":
        sizes = np.abs(_node_values(scores, graph))
    else:
        scored = scored_edges(graph, "head")
        values = edge_ranking(scores, graph, level="head", selection=selection, edges=scored)
        values = np.where(scored, values, 0.0)
        sizes = values.max(1)
        for reader, node in enumerate(graph.head_reader_writer.tolist()):
            if node >= 0:
                sizes[node] = max(sizes[node], values[:, reader].max())
    true_nodes = truth.observable.nodes
    left_out = {"input", *(truth.nodes - true_nodes)}
    nodes = [place for place, name in enumerate(graph.writers) if name not in left_out]
    true = np.array([graph.writers[place] in true_nodes for place in nodes], bool)
    return Items(sizes[nodes], true)


def _edge_values(
    scores: EdgeScores | NodeScores, graph: Graph, by: By
) -> Float[np.ndarray, "writer reader"]:
    """Scores of edges or their sizes, without rounding, once they fit the graph."""
    if np.ndim(scores) == 1:
        return edge_scores_of_nodes(_node_values(scores, graph), graph, by=by)
    values = np.asarray(scores, np.float64)
    if values.shape != graph.valid.shape:
        raise ValueError(f"scores have shape {values.shape}, expected {graph.valid.shape}")
    if np.isnan(values).any():
        writer, reader = np.argwhere(np.isnan(values))[0]
        name = f"{graph.writers[writer]}->{graph.readers[reader]}"
        raise ValueError(f"the score of {name} is NaN")
    values = _without_rounding(values, scored_edges(graph, "qkv"))
    return values if by == "signed" else np.abs(values)


def _node_values(scores: EdgeScores | NodeScores, graph: Graph) -> Float[np.ndarray, " writer"]:
    values = np.asarray(scores, np.float64)
    if len(values) != graph.n_writers:
        raise ValueError(f"scores of {len(values)} nodes, expected {graph.n_writers}")
    if np.isnan(values).any():
        raise ValueError(f"the score of {graph.writers[int(np.isnan(values).argmax())]} is NaN")
    return _without_rounding(values, np.arange(graph.n_writers) > 0)


def _without_rounding(
    values: Float[np.ndarray, "*shape"], counted: Bool[np.ndarray, "*shape"]
) -> Float[np.ndarray, "*shape"]:
    """Zero where a value is tiny beside the largest of those that count."""
    sizes = np.abs(values)
    largest = sizes[counted & np.isfinite(sizes)].max(initial=0.0)
    return np.where(sizes < TOLERANCE * largest, 0.0, values)
