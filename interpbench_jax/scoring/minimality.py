"""Whether a circuit has nothing that does not matter: every edge must make a difference."""

import numpy as np
from jaxtyping import Array, Bool, Float

from interpbench_jax.discovery import ContrastBatch, Loss
from interpbench_jax.model import Params, TransformerConfig
from interpbench_jax.model.network import Network
from interpbench_jax.scoring.completeness import subsets
from interpbench_jax.scoring.faithfulness import faithfulness

N_SUBSETS = 4


def minimality(
    params: Params,
    network: TransformerConfig | Network,
    batch: ContrastBatch,
    loss: Loss,
    circuit: Bool[np.ndarray, "writer reader"],
    key: Array,
    *,
    n_subsets: int = N_SUBSETS,
) -> Float[np.ndarray, " edge"]:
    """The largest |f(C without K) - f(C without K and e)| per edge e, over sets K of other edges.

    An edge that another can stand in for makes no difference in the whole circuit, but does once
    the other is patched too; so it is tried in the circuit and in random parts of it.

    Args:
      params: weights.
      network: a transformer's shape, or another network.
      batch: inputs; what is patched in is its ablation.
      loss: `(logits, batch) -> scalar`.
      circuit: true at the circuit's edges.
      key: a JAX random key; each other edge is in K with probability 1/2.
      n_subsets: how many sets K besides the empty one; the same for all edges.

    Returns:
      Per edge of the circuit, in graph order; 0 for one that never makes a difference.

    Raises:
      ValueError: `n_subsets` is negative.

    Source: Wang et al. 2022, Interpretability in the Wild, section 4, with K drawn instead of
      chosen by hand, and faithfulness normalised as in MIB (Mueller et al. 2025).
    """
    if n_subsets < 0:
        raise ValueError(f"n_subsets must not be negative, got {n_subsets}")
    removed = np.concatenate(
        [np.zeros((1, *circuit.shape), bool), subsets(circuit, key, n_subsets)]
    )
    edges = np.argwhere(circuit)
    one = np.zeros((len(edges), *circuit.shape), bool)
    one[np.arange(len(edges)), edges[:, 0], edges[:, 1]] = True
    without = circuit & ~removed[:, None] & ~one[None]
    found = faithfulness(
        params,
        network,
        batch,
        loss,
        np.concatenate([without | one, without]).reshape(-1, *circuit.shape),
    )
    with_edge, without_edge = found.reshape(2, len(removed), len(edges))
    return np.abs(with_edge - without_edge).max(0)
