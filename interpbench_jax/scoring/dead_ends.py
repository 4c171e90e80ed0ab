"""Removal of dead ends from circuits."""

import numpy as np
from jaxtyping import Bool

from interpbench_jax.model import Graph


def without_dead_ends(
    masks: Bool[np.ndarray, "*circuits writer reader"], graph: Graph
) -> Bool[np.ndarray, "*circuits writer reader"]:
    """Keeps the edges that lie on a path from the input to the output.

    A node without a path from the input or to the output carries no information; the node and its
    edges are removed. Writers whose node does not read are inputs; readers whose node does not
    write are outputs.

    Args:
      masks: true at the edges of circuits.
      graph: the graph of the circuits.
    """
    node = graph.reader_writer
    masks = masks & graph.valid
    from_input = np.zeros(masks.shape[:-1], bool)
    to_output = from_input.copy()
    for writer in range(graph.n_writers):
        own = node == writer
        leading_in = masks[..., own] & from_input[..., :, None]
        from_input[..., writer] = leading_in.any((-2, -1)) if own.any() else True
    for writer in reversed(range(graph.n_writers)):
        leading_out = np.where(node < 0, True, to_output[..., node])
        to_output[..., writer] = (masks[..., writer, :] & leading_out).any(-1)
    leading_out = np.where(node < 0, True, to_output[..., node])
    return masks & from_input[..., :, None] & leading_out[..., None, :]
