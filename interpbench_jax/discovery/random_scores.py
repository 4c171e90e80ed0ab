"""A baseline: scores that know nothing."""

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
    """Uniform numbers; expect an AUROC of one half.

    Args:
      params: of no effect.
      network: the shape of the model, or another network.
      batch: of no effect.
      loss: of no effect.
      key: a JAX random key; by default that of seed 0.
    """
    del params, batch, loss
    valid = as_network(network).graph.valid
    key = jax.random.key(0) if key is None else key
    return jax.random.uniform(key, valid.shape) * valid
