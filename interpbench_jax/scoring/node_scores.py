"""Scores of nodes read as scores of edges."""

import numpy as np
from jaxtyping import Array, Float

from interpbench_jax.model import Graph


def edge_scores_of_nodes(
    scores: Float[Array | np.ndarray, " writer"], graph: Graph
) -> Float[np.ndarray, "writer reader"]:
    """An edge is as important as the less important one of its two ends.

    So the circuit of all edges above a threshold has the edges between the nodes above it. Input
    and logits belong to every circuit: they count as infinite.

    Args:
      scores: per writer, in graph order; that of the input is not looked at.
      graph: the model's graph.

    Returns:
      Sizes of scores per edge; 0 where there is no edge.

    Raises:
      ValueError: there is not one score per writer.
    """
    sizes = np.abs(np.asarray(scores, np.float64))
    if len(sizes) != graph.n_writers:
        raise ValueError(f"scores of {len(sizes)} nodes, expected {graph.n_writers}")
    sizes[0] = np.inf
    of_readers = np.append(sizes[1:], np.inf)[graph.reader_head_index]
    return np.where(graph.valid, np.minimum(sizes[:, None], of_readers[None]), 0.0)
