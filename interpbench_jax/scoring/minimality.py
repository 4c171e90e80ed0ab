"""Minimality: every edge of a circuit must make a difference."""

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

    An edge with a redundant counterpart makes no difference in the whole circuit, but does when the
    counterpart is patched. So each edge is tested in the circuit and in random parts of it.

    Args:
      params: weights.
      network: a transformer's shape, or another network.
      batch: inputs and the source of patches.
      loss: `(logits, batch) -> scalar`.
      circuit: true at the circuit's edges.
      key: a JAX random key; each other edge is in K with probability 1/2.
      n_subsets: number of sets K in addition to the empty set; the same sets for all edges.

    Returns:
      The difference for each edge of the circuit, in graph order; 0 if there is none.

    Raises:
      ValueError: `n_subsets` is negative.

    Source: Wang et al. 2022, Interpretability in the Wild, section 4, but with random K instead of
      hand-chosen ones, and faithfulness normalised as in MIB (Mueller et al. 2025).
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
