"""Importance of nodes: the share of the model's performance lost when one node is patched."""

import numpy as np
from jaxtyping import Float

from interpbench_jax.discovery import ContrastBatch, Loss
from interpbench_jax.model import Params, TransformerConfig
from interpbench_jax.model.network import Network, as_network
from interpbench_jax.scoring.faithfulness import faithfulness


def node_importance(
    params: Params, network: TransformerConfig | Network, batch: ContrastBatch, loss: Loss
) -> Float[np.ndarray, " writer"]:
    """1 - f of the model without the outgoing edges of one node, for each node.

    This is a property of the model, not of a method.

    Args:
      params: weights.
      network: a transformer's shape, or another network.
      batch: inputs and the source of patches.
      loss: `(logits, batch) -> scalar`.

    Returns:
      For each writer, the share of performance that is lost; 0 for a node without an effect.
    """
    graph = as_network(network).graph
    leaving = graph.valid[None] & np.eye(graph.n_writers, dtype=bool)[:, :, None]
    return 1 - faithfulness(params, network, batch, loss, graph.valid & ~leaving)
