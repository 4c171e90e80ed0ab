"""Conversion of node scores to edge scores."""

from typing import Literal

import numpy as np
from jaxtyping import Array, Float

from interpbench_jax.model import Graph

By = Literal["absolute", "signed"]
"""Whether edges are ordered by absolute or by signed score."""


def edge_scores_of_nodes(
    scores: Float[Array | np.ndarray, " writer"], graph: Graph, *, by: By = "absolute"
) -> Float[np.ndarray, "writer reader"]:
    """Gives each edge the smaller score of its two nodes.

    The circuit of all edges above a threshold then has the edges between the nodes above it. Input
    and logits belong to every circuit: their scores count as infinite.

    Args:
      scores: one score per writer, in graph order; the input's score is ignored.
      graph: the model's graph.
      by: whether nodes are compared by absolute or by signed score.

    Returns:
      Signed or absolute scores per edge; 0 where there is no edge.

    Raises:
      ValueError: there is not one score per writer.
    """
    values = np.array(scores, np.float64)
    values = values if by == "signed" else np.abs(values)
    if len(values) != graph.n_writers:
        raise ValueError(f"scores of {len(values)} nodes, expected {graph.n_writers}")
    values[[name == "input" for name in graph.writers]] = np.inf
    of_readers = np.where(graph.reader_writer < 0, np.inf, values[graph.reader_writer])
    return np.where(graph.valid, np.minimum(values[:, None], of_readers[None]), 0.0)
