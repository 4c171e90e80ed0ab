"""Positions of nodes in drawings of a graph."""

import numpy as np

from interpbench_jax.model.graph import Graph, TransformerGraph

# Width of the gap in the middle of a layer's heads, above which the MLPs stand.
_GAP = 0.6


def bend(start: tuple[float, float], end: tuple[float, float]) -> float:
    """The bend of an edge: zero, unless it has to pass MLPs in the middle column."""
    height = end[1] - start[1]
    return 1.0 / height if start[0] == end[0] and height > 2 else 0.0


def node_places(graph: Graph) -> dict[str, tuple[float, float]]:
    """Positions of nodes, one unit apart; the first writers are at the bottom.

    The MLPs of a transformer are placed in a gap between the heads, so that edges that skip a layer
    cross no node.
    """
    if not isinstance(graph, TransformerGraph):
        rows = [np.flatnonzero(group).tolist() for group in graph.writer_groups]
        nodes = [[graph.writers[writer] for writer in row] for row in rows]
        nodes.append([name for name in graph.head_readers if name not in graph.writers])
        widest = max(map(len, nodes))
        return {
            name: (place + (widest - len(row)) / 2, float(height))
            for height, row in enumerate(nodes)
            for place, name in enumerate(row)
        }
    left = (graph.n_heads + 1) // 2
    middle = left - 1 + (1 + _GAP) / 2
    places = {"input": (middle, 0.0), "logits": (middle, 2.0 * graph.n_layers + 1)}
    for layer in range(graph.n_layers):
        for head in range(graph.n_heads):
            places[f"a{layer}.h{head}"] = (head + _GAP * (head >= left), 2.0 * layer + 1)
        places[f"m{layer}"] = (middle, 2.0 * layer + 2)
    return places
