"""Greedy selection: the order in which a search from the output takes edges."""

import heapq

import numpy as np
from jaxtyping import Bool, Float, Int


def greedy_places(
    values: Float[np.ndarray, "writer reader"],
    candidates: Bool[np.ndarray, "writer reader"],
    node_of_reader: Int[np.ndarray, " reader"],
) -> Float[np.ndarray, "writer reader"]:
    """Places of edges in a search that repeatedly takes the best edge into a node already reached.

    The search begins at the output. Taking an edge reaches its writer, whose incoming edges become
    available. Available edges with equal values are taken in one step and share a place, so their
    order in the graph does not matter.

    Args:
      values: larger is better.
      candidates: the edges that may be taken.
      node_of_reader: for each reader, the writer whose input it is; -1 for the output.

    Returns:
      Larger numbers for edges taken earlier, all at least 1; 0 for edges that are never taken.

    Source: Hanna et al. 2024, Have Faith in Faithfulness, which takes one edge per step.
    """
    heap: list[tuple[float, int, int]] = []
    steps = np.zeros(values.shape)
    n_steps = 0
    reached: set[int] = set()
    newly = {-1}
    while newly or heap:
        for node in newly:
            for writer, reader in np.argwhere(candidates & (node_of_reader == node)[None]):
                heapq.heappush(heap, (-values[writer, reader], int(writer), int(reader)))
        reached |= newly
        newly = set()
        n_steps += 1
        best = heap[0][0] if heap else None
        while heap and heap[0][0] == best:
            _, writer, reader = heapq.heappop(heap)
            steps[writer, reader] = n_steps
            newly |= {writer} - reached
    return np.where(steps > 0, n_steps + 1 - steps, 0.0)
