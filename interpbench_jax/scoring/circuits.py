"""The circuit that scores stand for."""

import numpy as np

from interpbench_jax.model import Circuit
from interpbench_jax.scoring.items import EdgeScores, Level, NodeScores, edge_items, scored_edges
from interpbench_jax.scoring.largest import largest


def found_circuit(
    scores: EdgeScores | NodeScores, truth: Circuit, *, level: Level = "head"
) -> Circuit:
    """As many edges as the true circuit has, those with the largest scores; ties in graph order.

    Args:
      scores: of any method.
      truth: the circuit to be found.
      level: see `edge_roc`; at head level the edges into q, k and v of a head come together.

    Returns:
      The circuit; `input->logits`, which is not scored, is never in it.

    Raises:
      ValueError: the scores do not fit the circuit's graph, or contain NaN.
    """
    graph = truth.graph
    items = edge_items(scores, truth, level=level)
    scored = scored_edges(graph, level)
    chosen = np.zeros(scored.shape, bool)
    chosen[scored] = largest(items.values, int(items.positive.sum()))
    if level == "head":
        chosen = chosen[:, graph.reader_head_index] & graph.valid
    return Circuit.from_mask(graph, chosen)
