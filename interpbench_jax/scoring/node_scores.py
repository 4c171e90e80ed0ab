"""Scores of nodes read as scores of edges."""

from typing import Literal

import numpy as np
from jaxtyping import Array, Float

from interpbench_jax.model import Graph

By = Literal["absolute", "signed"]
"""Whether a large score of either sign is good, or a large positive one alone."""


def edge_scores_of_nodes(
    scores: Float[Array | np.ndarray, " writer"], graph: Graph, *, by: By = "absolute"
) -> Float[np.ndarray, "writer reader"]:
    """An edge is as important as the less important one of its two ends.

    So the circuit of all edges above a threshold has the edges between the nodes above it. Input
    and logits belong to every circuit: they count as infinite.

    Args:
      scores: per writer, in graph order; that of the input is not looked at.
      graph: the model's graph.
      by: what important is: a score of large size, or a large positive one.

    Returns:
      Scores per edge, or their sizes; 0 where there is no edge.

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
