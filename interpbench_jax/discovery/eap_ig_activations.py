"""EAP with integrated gradients along what each layer writes."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from interpbench_jax.discovery.attribution import attribution_along, path_shares
from interpbench_jax.discovery.objective import ContrastBatch, Loss
from interpbench_jax.model import Params, TransformerConfig
from interpbench_jax.model.network import EdgeNetwork, as_edge_network


@functools.partial(jax.jit, static_argnames=("config", "loss", "steps"))
def eap_ig_activations(
    params: Params,
    config: TransformerConfig | EdgeNetwork,
    batch: ContrastBatch,
    loss: Loss,
    *,
    steps: int = 5,
) -> Float[Array, "writer reader"]:
    """EAP with gradients averaged while a writer, and those beside it, go from clean to source.

    Each group of writers (the input, the heads of a layer, an MLP) has a path of its own; what was
    written before stays clean.

    Args:
      params: weights.
      config: their shape, or another network.
      batch: inputs and what patches put in.
      loss: `(logits, batch) -> scalar`.
      steps: gradients are taken at shares 0, 1/steps, ..., 1 - 1/steps of the way.

    Returns:
      As `eap`: positive where patching hurts.

    Raises:
      ValueError: `steps` is smaller than 1.

    Source: Marks et al. 2024, Sparse Feature Circuits; "EAP-IG-activations" in MIB (Mueller et al.
    2025).
    """
    shares = path_shares(steps)
    groups = jnp.asarray(as_edge_network(config).graph.writer_groups, float)

    def scores_of(group: Float[Array, " writer"]) -> Float[Array, "writer reader"]:
        masks = shares[:, None] * group[None]
        return attribution_along(params, config, batch, loss, masks) * group[:, None]

    return jax.lax.map(scores_of, groups).sum(0)
