"""What of a circuit is no dead end."""

import numpy as np
from jaxtyping import Bool

from interpbench_jax.model import Graph


def without_dead_ends(
    masks: Bool[np.ndarray, "*circuits writer reader"], graph: Graph
) -> Bool[np.ndarray, "*circuits writer reader"]:
    """Leaves the edges that lie on a way from the input to the logits.

    A head or MLP that nothing leads into from the input, or that nothing leads out of to the
    logits, carries nothing: neither it nor its edges belong to the circuit.

    Args:
      masks: true at the edges of circuits.
      graph: of all of them.
    """
    n_nodes = graph.n_writers  # without the logits; the input is the first
    into = graph.reader_head_index + 1  # the node that a reader belongs to; n_nodes for logits
    from_input = np.zeros((*masks.shape[:-2], n_nodes + 1), bool)
    to_logits = from_input.copy()
    from_input[..., 0] = to_logits[..., n_nodes] = True
    masks = masks & graph.valid
    for node in range(1, n_nodes + 1):
        leading_in = masks[..., into == node] & from_input[..., :n_nodes, None]
        from_input[..., node] = leading_in.any((-2, -1))
    for node in range(n_nodes - 1, -1, -1):
        to_logits[..., node] = (masks[..., node, :] & to_logits[..., into]).any(-1)
    return masks & from_input[..., :n_nodes, None] & to_logits[..., None, into]
