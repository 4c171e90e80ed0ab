"""Minimality: every edge of a circuit must make a difference."""

import jax
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
    n_edges: int | None = None,
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
      n_edges: if the circuit has more edges, so many are drawn and tested; by default, all are.

    Returns:
      The difference for each tested edge, in graph order; 0 if there is none.

    Raises:
      ValueError: `n_subsets` is negative, or `n_edges` smaller than 1.

    Source: Wang et al. 2022, Interpretability in the Wild, section 4, but with random K instead of
      hand-chosen ones, and faithfulness normalised as in MIB (Mueller et al. 2025).
    """
    if n_subsets < 0:
        raise ValueError(f"n_subsets must not be negative, got {n_subsets}")
    if n_edges is not None and n_edges < 1:
        raise ValueError(f"n_edges must be at least 1, got {n_edges}")
    key_sets, key_edges = jax.random.split(key)
    removed = np.concatenate(
        [np.zeros((1, *circuit.shape), bool), subsets(circuit, key_sets, n_subsets)]
    )
    edges = np.argwhere(circuit)
    if n_edges is not None and len(edges) > n_edges:
        drawn = jax.random.choice(key_edges, len(edges), (n_edges,), replace=False)
        edges = edges[np.sort(drawn)]
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
