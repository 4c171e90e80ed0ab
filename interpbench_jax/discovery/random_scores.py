"""A baseline: random scores."""

import functools

import jax
from jaxtyping import Array, Float

from interpbench_jax.discovery.batch import ContrastBatch, Loss
from interpbench_jax.model import Params, TransformerConfig
from interpbench_jax.model.network import Network, as_network


@functools.partial(jax.jit, static_argnames=("network", "loss"))
def random_scores(
    params: Params,
    network: TransformerConfig | Network,
    batch: ContrastBatch,
    loss: Loss,
    *,
    key: Array | None = None,
) -> Float[Array, "writer reader"]:
    """Uniform random numbers; the expected AUROC is 1/2.

    Args:
      params: unused.
      network: a transformer's shape, or another network.
      batch: unused.
      loss: unused.
      key: a JAX random key; by default the key of seed 0.
    """
    del params, batch, loss
    valid = as_network(network).graph.valid
    key = jax.random.key(0) if key is None else key
    return jax.random.uniform(key, valid.shape) * valid
