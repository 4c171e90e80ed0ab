"""The order in which a search from the output takes edges."""

import heapq

import numpy as np
from jaxtyping import Bool, Float, Int


def greedy_places(
    values: Float[np.ndarray, "writer reader"],
    candidates: Bool[np.ndarray, "writer reader"],
    node_of_reader: Int[np.ndarray, " reader"],
) -> Float[np.ndarray, "writer reader"]:
    """Places of edges: the best edge into anything already reached is taken, again and again.

    The search begins at the output. An edge that is taken reaches its writer, and so opens the
    edges into that. Open edges with one value are taken in one step and share a place: the order
    in which they stand in the graph does not matter.

    Args:
      values: the larger, the better.
      candidates: the edges that may be taken.
      node_of_reader: for each reader the writer that it is an input of, -1 for the output.

    Returns:
      The larger, the earlier an edge is taken; 1 for the last, 0 for all that never are.

    Source: Hanna et al. 2024, Have Faith in Faithfulness, where one edge is taken a step.
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
