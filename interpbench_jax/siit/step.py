"""One batch of SIIT: draw pairs and interventions, then one or three optimizer updates."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Num

from interpbench_jax.model import Graph, Params, TransformerConfig
from interpbench_jax.model.graph import TransformerGraph
from interpbench_jax.model.network import Network
from interpbench_jax.siit.config import Outside, Steps, StrictSampling, VariableSampling
from interpbench_jax.siit.losses import interchange_losses
from interpbench_jax.siit.mesh import DATA, own_pairs, sum_over_devices
from interpbench_jax.siit.problem import SiitProblem

BEHAVIOUR, IIT, STRICT = range(3)
"""The order of the three losses."""


class SiitBatch(NamedTuple):
    """A batch with its three interventions: none, one variable, nodes outside the circuit.

    Attributes:
      base: inputs to run on.
      source: inputs from which nodes take their values.
      masks: the nodes that each intervention patches in each pair; the first patches none.
      targets: the algorithm's answers under each intervention.
      position_weights: weight of each position, for all interventions or for each.
    """

    base: Int[Array, "pair pos"]
    source: Int[Array, "pair pos"]
    masks: Float[Array, "3 _ writer"]
    targets: Num[Array, "3 pair pos"]
    position_weights: Float[Array, "*intervention pair pos"]


def draw_batch(
    problem: SiitProblem,
    key: Array,
    *,
    batch_size: int,
    strict_sampling: StrictSampling,
    variable_sampling: VariableSampling,
) -> SiitBatch:
    """Draws pairs with replacement, variables uniformly, and nodes outside the circuit.

    Args:
      problem: the problem to draw from.
      key: a JAX random key.
      batch_size: number of pairs.
      strict_sampling: which nodes outside the circuit to patch at once; see `SiitConfig`.
      variable_sampling: one variable for all pairs, or one for each.
    """
    pair_key, variable_key, free_key = jax.random.split(key, 3)
    pairs = jax.random.randint(pair_key, (batch_size,), 0, problem.n_pairs)
    n_drawn = 1 if variable_sampling == "per_batch" else batch_size
    n_variables = _n_nodes(problem.variable_nodes)
    variable = jax.random.randint(variable_key, (n_drawn,), 0, n_variables)
    interchanged = problem.variable_nodes[variable]
    strict = jnp.broadcast_to(
        _draw_free(problem.free_nodes, free_key, strict_sampling), interchanged.shape
    )
    target, position_weights = problem.base_target[pairs], problem.position_weights[pairs]
    behaviour, weights = target, position_weights
    if problem.behaviour is not None:
        behaviour = problem.behaviour.target[pairs]
        weights = jnp.stack(
            [problem.behaviour.position_weights[pairs], position_weights, position_weights]
        )
    return SiitBatch(
        base=problem.base[pairs],
        source=problem.source[pairs],
        masks=jnp.stack([jnp.zeros_like(strict), interchanged, strict]),
        targets=jnp.stack([behaviour, problem.variable_targets[variable, pairs], target]),
        position_weights=weights,
    )


def own_part(batch: SiitBatch) -> SiitBatch:
    """This device's part of a batch, inside a function that runs on every device of a mesh."""
    base, source = map(own_pairs, (batch.base, batch.source))
    position_weights = own_pairs(batch.position_weights, axis=batch.position_weights.ndim - 2)
    masks = batch.masks if batch.masks.shape[1] == 1 else own_pairs(batch.masks, axis=1)
    return SiitBatch(base, source, masks, own_pairs(batch.targets, axis=1), position_weights)


def _draw_free(
    free_nodes: Float[Array, "free writer"], key: Array, sampling: StrictSampling
) -> Float[Array, " writer"]:
    n_free = len(free_nodes)
    if sampling == "all" or n_free == 0:
        return free_nodes.sum(0)
    if sampling == "individual":
        return free_nodes[jax.random.randint(key, (), 0, _n_nodes(free_nodes))]
    return jax.random.bernoulli(key, 0.5, (n_free,)).astype(free_nodes.dtype) @ free_nodes


def _n_nodes(rows: Float[Array, "row writer"]) -> Int[Array, ""]:
    """The number of rows that are not zero; rows of zeros at the end are padding."""
    return (rows.sum(1) > 0).sum()


def update(
    params: Params,
    optimizer_state: optax.OptState,
    batch: SiitBatch,
    free: Float[Array, " writer"],
    weights: Float[Array, "3"],
    learning_rate: Float[Array, ""],
    *,
    model: TransformerConfig | Network,
    optimizer: optax.GradientTransformation,
    steps: Steps,
    outside: Outside,
    source_gradient: bool,
    divided: bool = False,
) -> tuple[Params, optax.OptState, Float[Array, "3"]]:
    """Takes one optimizer step on the weighted sum of the three losses, or one per loss.

    A loss with weight 0 gets no step.

    Args:
      params: weights.
      optimizer_state: state of `optimizer`.
      batch: inputs, interventions and targets.
      free: 1 at the nodes outside the circuit.
      weights: weights of the behaviour, IIT and strict loss.
      learning_rate: learning rate of this batch.
      model: a transformer's shape, or another network.
      optimizer: computes directions, which are scaled by the learning rate.
      steps: `joint`, or `separate` in the original's order: IIT, strict, behaviour.
      outside: treatment of the nodes outside the circuit.
      source_gradient: whether gradients flow back into the run on the source.
      divided: whether the batch is divided among the devices of a mesh.

    Returns:
      New weights and optimizer state, and the three losses, unweighted, each before its step.
    """
    groups = ((BEHAVIOUR, IIT, STRICT),) if steps == "joint" else ((IIT,), (STRICT,), (BEHAVIOUR,))
    losses = jnp.zeros(3)
    for group in groups:
        chosen = jnp.array(group)

        def weighted(
            params: Params, batch: SiitBatch, share: Array, chosen: Array = chosen
        ) -> tuple[Array, Array]:
            found = interchange_losses(
                params,
                model,
                batch.base,
                batch.source,
                batch.masks,
                batch.targets,
                batch.position_weights,
                detached=free if outside == "stop_gradient" else None,
                source_gradient=source_gradient,
            )
            found = found * share
            return found @ weights[chosen], found

        some = batch._replace(masks=batch.masks[chosen], targets=batch.targets[chosen])
        if batch.position_weights.ndim == 3:
            some = some._replace(position_weights=batch.position_weights[chosen])
        share = jnp.ones(())
        if divided:
            some, share = share_of_device(some)
        gradient, found = jax.grad(weighted, has_aux=True)(params, some, share)
        if divided:
            gradient, found = sum_over_devices((gradient, found))
        if outside == "freeze" and isinstance(model, TransformerConfig):
            gradient = without_nodes(gradient, Graph.of(model), free)
        moved = take_step(params, optimizer_state, gradient, learning_rate, optimizer)
        # No step for a loss with weight 0: Adam's momentum would still change the parameters.
        params, optimizer_state = jax.tree.map(
            functools.partial(jnp.where, (weights[chosen] > 0).any()),
            moved,
            (params, optimizer_state),
        )
        losses = losses.at[chosen].set(found)
    return params, optimizer_state, losses


def share_of_device(batch: SiitBatch) -> tuple[SiitBatch, Float[Array, "*intervention"]]:
    """This device's share of the weights of all devices' positions, for all losses or for each.

    Each loss is a mean over positions; times this share, the devices' losses add up to the mean
    over all.

    Returns:
      The batch, with weights of 1 in place of zeros where the share is 0, so that losses are
      finite; and the share.
    """
    weight = batch.position_weights.sum((-2, -1))
    share = weight / jax.lax.psum(weight, DATA)
    empty = (share == 0)[..., None, None]
    return batch._replace(position_weights=jnp.where(empty, 1, batch.position_weights)), share


def take_step(
    params: Params,
    optimizer_state: optax.OptState,
    gradient: Params,
    learning_rate: Float[Array, ""],
    optimizer: optax.GradientTransformation,
) -> tuple[Params, optax.OptState]:
    """New weights and optimizer state after one step along a gradient."""
    directions, new_state = optimizer.update(gradient, optimizer_state, params)
    return jax.tree.map(lambda p, d: p - learning_rate * d, params, directions), new_state


def without_nodes(
    gradient: Params, graph: TransformerGraph, nodes: Float[Array, " writer"]
) -> Params:
    """Sets the gradient of some heads and MLPs to zero.

    Args:
      gradient: a gradient with the structure of the weights.
      graph: the model's graph.
      nodes: 1 at the heads and MLPs whose weights get no gradient; embeddings, the unembedding and
        an attention layer's shared output bias belong to no node.
    """
    kept = 1 - nodes
    blocks = {}
    for layer in range(graph.n_layers):
        block = dict(gradient[f"blocks_{layer}"])
        heads = kept[graph.attention_writers(layer)]
        block["attn"] = {
            name: x if name == "b_O" else x * heads.reshape(-1, *[1] * (x.ndim - 1))
            for name, x in block["attn"].items()
        }
        mlp = kept[graph.mlp_writer(layer)]
        block["mlp"] = {name: x * mlp for name, x in block["mlp"].items()}
        blocks[f"blocks_{layer}"] = block
    return {**gradient, **blocks}
