"""How much of the model's performance goes when one node is patched."""

import numpy as np
from jaxtyping import Float

from interpbench_jax.discovery import ContrastBatch, Loss
from interpbench_jax.model import Params, TransformerConfig
from interpbench_jax.model.network import Network, as_network
from interpbench_jax.scoring.faithfulness import faithfulness


def node_importance(
    params: Params, network: TransformerConfig | Network, batch: ContrastBatch, loss: Loss
) -> Float[np.ndarray, " writer"]:
    """1 - f of the model without the edges that leave one node, for one node after another.

    A property of the model, not of a method: it says what there is to be found.

    Args:
      params: weights.
      network: a transformer's shape, or another network.
      batch: inputs; what is patched in is its ablation.
      loss: `(logits, batch) -> scalar`.

    Returns:
      Per writer the share of performance that is lost; 0 for a node that does nothing.
    """
    graph = as_network(network).graph
    leaving = graph.valid[None] & np.eye(graph.n_writers, dtype=bool)[:, :, None]
    return 1 - faithfulness(params, network, batch, loss, graph.valid & ~leaving)
