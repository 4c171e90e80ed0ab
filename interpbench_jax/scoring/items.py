"""What is ranked and which of it is true: the edges or nodes that a score is about."""

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Float

from interpbench_jax.model import Circuit, Graph
from interpbench_jax.scoring.node_scores import edge_scores_of_nodes

Level = Literal["head", "qkv"]
EdgeScores = Float[Array | np.ndarray, "writer reader"]
NodeScores = Float[Array | np.ndarray, " writer"]


class Items(NamedTuple):
    """Edges or nodes, in graph order.

    Attributes:
      values: size of the score of each; the larger, the more it matters.
      positive: whether the true circuit has it.
    """

    values: Float[np.ndarray, " item"]
    positive: Bool[np.ndarray, " item"]


def edge_items(scores: EdgeScores | NodeScores, truth: Circuit, *, level: Level = "head") -> Items:
    """The edges that are scored: all but `input->logits`.

    Args:
      scores: of any method; those of nodes become scores of edges by `edge_scores_of_nodes`.
      truth: the circuit to be found.
      level: `head` merges q, k and v of a head by the largest score; `qkv` keeps them apart.

    Raises:
      ValueError: the scores do not fit the circuit's graph, or contain NaN.
    """
    graph = truth.graph
    values, scored = edge_sizes(scores, graph), scored_edges(graph, level)
    if level == "qkv":
        return Items(values[scored], truth.mask[scored])
    return Items(graph.to_head_level(values)[scored], truth.head_mask[scored])


def scored_edges(graph: Graph, level: Level) -> Bool[np.ndarray, "writer reader"]:
    """True at all edges but `input->logits`; at level `head` readers are those of that level."""
    scored = graph.valid.copy()
    scored[0, -1] = False
    return scored if level == "qkv" else graph.to_head_level(scored)


def node_items(scores: EdgeScores | NodeScores, truth: Circuit) -> Items:
    """Heads and MLPs, each with its own score, or with the largest of an edge that touches it.

    Raises:
      ValueError: the scores do not fit the circuit's graph, or contain NaN.
    """
    graph = truth.graph
    if np.ndim(scores) == 1:
        sizes = _node_sizes(scores, graph)[1:]
    else:
        values = graph.to_head_level(np.where(graph.valid, edge_sizes(scores, graph), 0.0))
        # Heads and MLPs are all writers but the first and all head-level readers but the last.
        sizes = np.maximum(values[1:].max(1), values[:, :-1].max(0))
    return Items(sizes, np.array([node in truth.nodes for node in graph.writers[1:]]))


def edge_sizes(scores: EdgeScores | NodeScores, graph: Graph) -> Float[np.ndarray, "writer reader"]:
    """Absolute values of scores, once they have been found to be scores of this graph's edges.

    Raises:
      ValueError: the scores do not fit the graph, or contain NaN.
    """
    if np.ndim(scores) == 1:
        return edge_scores_of_nodes(_node_sizes(scores, graph), graph)
    values = np.abs(np.asarray(scores, np.float64))
    if values.shape != graph.valid.shape:
        raise ValueError(f"scores have shape {values.shape}, expected {graph.valid.shape}")
    if np.isnan(values).any():
        writer, reader = np.argwhere(np.isnan(values))[0]
        name = f"{graph.writers[writer]}->{graph.readers[reader]}"
        raise ValueError(f"the score of {name} is NaN")
    return values


def _node_sizes(scores: EdgeScores | NodeScores, graph: Graph) -> Float[np.ndarray, " writer"]:
    values = np.abs(np.asarray(scores, np.float64))
    if len(values) != graph.n_writers:
        raise ValueError(f"scores of {len(values)} nodes, expected {graph.n_writers}")
    if np.isnan(values).any():
        raise ValueError(f"the score of {graph.writers[int(np.isnan(values).argmax())]} is NaN")
    return values
