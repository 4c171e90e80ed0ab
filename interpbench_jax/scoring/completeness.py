"""Completeness: a circuit has everything that matters if patches hurt it as much as the model."""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool

from interpbench_jax.discovery import ContrastBatch, Loss
from interpbench_jax.model import Params, TransformerConfig
from interpbench_jax.model.network import Network, as_network
from interpbench_jax.scoring.faithfulness import faithfulness

N_SUBSETS = 16


class Incompleteness(NamedTuple):
    """Gaps between circuit and model when the same edges are patched in both; 0 is complete.

    Attributes:
      mean: mean gap over the sets of edges.
      worst: largest gap over the sets of edges.
    """

    mean: float
    worst: float


def incompleteness(
    params: Params,
    network: TransformerConfig | Network,
    batch: ContrastBatch,
    loss: Loss,
    circuit: Bool[np.ndarray, "writer reader"],
    key: Array,
    *,
    n_subsets: int = N_SUBSETS,
) -> Incompleteness:
    """|f(C without K) - f(N without K)| for random sets K of the circuit's edges.

    If the model has two redundant paths and the circuit only one, the circuit is faithful. But it
    fails when this path is patched, and the model does not.

    Args:
      params: weights.
      network: a transformer's shape, or another network.
      batch: inputs and the source of patches.
      loss: `(logits, batch) -> scalar`.
      circuit: true at the circuit's edges.
      key: a JAX random key; each edge is in K with probability 1/2.
      n_subsets: number of sets. The last is the whole circuit.

    Raises:
      ValueError: `n_subsets` is smaller than 1.

    Source: Wang et al. 2022, Interpretability in the Wild, section 4; faithfulness here is
      normalised as in MIB (Mueller et al. 2025).
    """
    if n_subsets < 1:
        raise ValueError(f"n_subsets must be at least 1, got {n_subsets}")
    removed = subsets(circuit, key, n_subsets - 1)
    removed = np.concatenate([removed, circuit[None]])
    whole = as_network(network).graph.valid
    circuits = np.concatenate([circuit & ~removed, whole & ~removed])
    of_circuit, of_model = np.split(faithfulness(params, network, batch, loss, circuits), 2)
    gaps = np.abs(of_circuit - of_model)
    return Incompleteness(float(gaps.mean()), float(gaps.max()))


def subsets(
    circuit: Bool[np.ndarray, "writer reader"], key: Array, n_subsets: int
) -> Bool[np.ndarray, "subset writer reader"]:
    """Random sets of a circuit's edges, each included with probability 1/2."""
    drawn = jax.random.bernoulli(key, shape=(n_subsets, *circuit.shape))
    return np.asarray(drawn) & circuit
