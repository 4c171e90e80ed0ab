"""The edges or nodes that are ranked, with their values and which of them are true."""

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Float

from interpbench_jax.discovery import Selection
from interpbench_jax.model import Circuit, Graph
from interpbench_jax.model.graph import edge_name
from interpbench_jax.scoring.greedy import greedy_places
from interpbench_jax.scoring.node_scores import By, edge_scores_of_nodes

Level = Literal["head", "qkv"]
"""Whether the edges into q, k and v of a head count as one (`head`) or as three (`qkv`)."""
NodeScores = Float[Array | np.ndarray, " writer"]
MethodScores = Float[Array | np.ndarray, "writer reader"] | NodeScores
"""The result of a method: scores per edge, or per writer."""

SCORE_RESOLUTION = 1e-7
"""Scores smaller than this share of the largest finite score count as 0: about the resolution of
float32, in which losses and gradients are computed."""


class Items(NamedTuple):
    """Edges or nodes that are judged, in graph order.

    Attributes:
      values: larger means more important: with `top_n` the absolute score, with `greedy` the place
        in the search counted from its end (see `greedy_places`).
      positive: whether the item is in the true circuit.
    """

    values: Float[np.ndarray, " item"]
    positive: Bool[np.ndarray, " item"]


def edge_items(
    scores: MethodScores,
    truth: Circuit,
    *,
    level: Level = "head",
    selection: Selection = "top_n",
) -> Items:
    """The edges that are judged: all except `input->logits` and edges that no patch can reveal.

    Args:
      scores: scores of any method; `edge_scores_of_nodes` converts scores of nodes.
      truth: the circuit to be found.
      level: `head` merges q, k and v of a head by the largest score; `qkv` keeps them separate.
      selection: how edges are ranked: by their scores, or by the search from the logits.

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
    """True at the scored edges except unobservable ones, which are neither true nor false.

    At level `head` a merged edge is excluded if all its edges in the circuit are unobservable.
    """
    circuit = truth.mask if level == "qkv" else truth.head_mask
    return scored_edges(truth.graph, level) & ~(circuit & ~true_edges(truth, level))


def scored_edges(graph: Graph, level: Level) -> Bool[np.ndarray, "writer reader"]:
    """True at all edges except `input->logits`; readers are those of the level."""
    scored = graph.valid.copy()
    if graph.writers[0] == "input" and graph.readers[-1] == "logits":
        scored[0, -1] = False
    return scored if level == "qkv" else graph.to_head_level(scored)


def edge_ranking(
    scores: MethodScores,
    graph: Graph,
    *,
    level: Level,
    selection: Selection,
    edges: Bool[np.ndarray, "level_writer level_reader"],
    by: By = "absolute",
) -> Float[np.ndarray, "level_writer level_reader"]:
    """A number per edge: larger if the selection takes it earlier, equal for ties.

    Args:
      scores: scores of any method.
      graph: the model's graph.
      level: see `edge_items`.
      selection: how edges are ranked.
      edges: edges that may be taken, at this level; the numbers of other edges have no meaning.
      by: whether edges are ordered by absolute or by signed score.

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


def node_items(scores: MethodScores, truth: Circuit, *, selection: Selection = "top_n") -> Items:
    """All writers except the input, with their own scores or the largest score of their edges.

    A node is true if an edge of the circuit touches it. It is excluded if all these edges are
    unobservable. With `greedy`, a node is reached with the first edge that leaves it.

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


def _edge_values(scores: MethodScores, graph: Graph, by: By) -> Float[np.ndarray, "writer reader"]:
    """Signed or absolute scores of edges, without rounding errors, checked against the graph."""
    if np.ndim(scores) == 1:
        return edge_scores_of_nodes(_node_values(scores, graph), graph, by=by)
    values = np.asarray(scores, np.float64)
    if values.shape != graph.valid.shape:
        raise ValueError(f"scores have shape {values.shape}, expected {graph.valid.shape}")
    values = np.where(graph.valid, values, 0.0)
    if np.isnan(values).any():
        writer, reader = np.argwhere(np.isnan(values))[0]
        name = edge_name(graph.writers[writer], graph.readers[reader])
        raise ValueError(f"the score of {name} is NaN")
    values = _without_rounding(values, scored_edges(graph, "qkv"))
    return values if by == "signed" else np.abs(values)


def _node_values(scores: MethodScores, graph: Graph) -> Float[np.ndarray, " writer"]:
    values = np.asarray(scores, np.float64)
    if len(values) != graph.n_writers:
        raise ValueError(f"scores of {len(values)} nodes, expected {graph.n_writers}")
    if np.isnan(values).any():
        raise ValueError(f"the score of {graph.writers[int(np.isnan(values).argmax())]} is NaN")
    return _without_rounding(values, np.arange(graph.n_writers) > 0)


def _without_rounding(
    values: Float[np.ndarray, "*shape"], counted: Bool[np.ndarray, "*shape"]
) -> Float[np.ndarray, "*shape"]:
    """Sets values to zero that are tiny relative to the largest one that counts."""
    sizes = np.abs(values)
    largest = sizes[counted & np.isfinite(sizes)].max(initial=0.0)
    return np.where(sizes < SCORE_RESOLUTION * largest, 0.0, values)
