"""One optimizer step of edge-true training, and the losses of its batch."""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from interpbench_jax.model import Params, TransformerConfig
from interpbench_jax.model.network import Network, as_network
from interpbench_jax.siit.edge_batch import EdgeBatch
from interpbench_jax.siit.losses import position_losses
from interpbench_jax.siit.mesh import sum_over_devices
from interpbench_jax.siit.step import take_step


def update_by_edges(
    params: Params,
    optimizer_state: optax.OptState,
    batch: EdgeBatch,
    weights: Float[Array, "3"],
    learning_rate: Float[Array, ""],
    *,
    model: TransformerConfig | Network,
    optimizer: optax.GradientTransformation,
    divided: bool = False,
) -> tuple[Params, optax.OptState, Float[Array, "3"]]:
    """Takes one optimizer step on the weighted sum of the three losses.

    Args:
      params: weights.
      optimizer_state: state of `optimizer`.
      batch: rows with their sets of edges.
      weights: weights of the behaviour, IIT and strict loss.
      learning_rate: learning rate of this batch.
      model: a transformer's shape, or another network.
      optimizer: computes directions, which are scaled by the learning rate.
      divided: whether the batch is divided among the devices of a mesh.

    Returns:
      New weights and optimizer state, and the three losses, unweighted, before the step.
    """

    def weighted(params: Params) -> tuple[Array, Array]:
        found = edge_losses(params, model, batch)
        return found @ weights, found

    gradient, losses = jax.grad(weighted, has_aux=True)(params)
    if divided:
        gradient, losses = sum_over_devices((gradient, losses))
    moved = take_step(params, optimizer_state, gradient, learning_rate, optimizer)
    return *moved, losses


def edge_losses(
    params: Params, model: TransformerConfig | Network, batch: EdgeBatch
) -> Float[Array, "3"]:
    """Behaviour, IIT and strict loss of a batch under edge patches.

    Args:
      params: weights.
      model: a transformer's shape, or another network.
      batch: rows with their sets of edges.

    Returns:
      Behaviour: the unpatched model on the sources; IIT: rows in which edges of the circuit are
      patched; strict: rows in which only other edges are patched.
    """
    on_source, on_base = as_network(model).run_edge_patches(
        params, batch.base, batch.source, batch.masks, batch.patched_at
    )
    behaviour, iit, strict = batch.weights
    patched = position_losses(on_base, batch.base_target)
    unpatched = position_losses(on_source, batch.source_target)
    return jnp.stack(
        [(unpatched * behaviour).sum(), (patched * iit).sum(), (patched * strict).sum()]
    )
