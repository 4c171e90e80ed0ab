"""The best possible method: the truth, as scores."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from interpbench_jax.discovery.batch import ContrastBatch, Loss
from interpbench_jax.model import Params, TransformerConfig
from interpbench_jax.model.network import Network, as_network


def oracle(
    params: Params,
    network: TransformerConfig | Network,
    batch: ContrastBatch,
    loss: Loss,
    *,
    truth: Bool[Array | np.ndarray, "writer reader"] | None = None,
) -> Float[Array, "writer reader"]:
    """1 at the true circuit's edges, 0 elsewhere: shows the best value of each measure.

    Args:
      params: unused.
      network: a transformer's shape, or another network.
      batch: unused.
      loss: unused.
      truth: mask of the circuit's edges.

    Raises:
      ValueError: the truth is not given, or does not fit the model.
    """
    del params, batch, loss
    if truth is None:
        raise ValueError("the oracle needs the truth, a mask of the circuit's edges; got none")
    valid = as_network(network).graph.valid
    if truth.shape != valid.shape:
        raise ValueError(f"truth has shape {truth.shape}, expected [writer, reader]: {valid.shape}")
    return jnp.asarray(truth, jnp.float32) * valid
