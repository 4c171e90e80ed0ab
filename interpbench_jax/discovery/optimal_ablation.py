"""Optimal ablation: a writer is replaced by the constant with the lowest loss."""

import functools

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from interpbench_jax.discovery.batch import ContrastBatch, Loss
from interpbench_jax.discovery.rows import Part, Rows, run_rows, sum_over_rows
from interpbench_jax.model import NodePatch, Params, TransformerConfig
from interpbench_jax.model.network import Network, as_network


@functools.partial(jax.jit, static_argnames=("network", "loss", "steps", "learning_rate"))
def optimal_source(
    params: Params,
    network: TransformerConfig | Network,
    batch: ContrastBatch,
    loss: Loss,
    *,
    steps: int = 100,
    learning_rate: float = 0.1,
) -> Float[Array, "#batch #pos writer d_model"]:
    """Learns, for each writer ablated alone, the vector that minimises the loss.

    Args:
      params: weights.
      network: a transformer's shape, or another network.
      batch: inputs; learning starts from the batch's source.
      loss: `(logits, batch) -> scalar`.
      steps: number of steps of Adam.
      learning_rate: learning rate of Adam, in units of the root mean square of a writer's output at
        positions that count.

    Returns:
      One vector per writer, the same for all inputs and positions, as a source of patches; NaN if
      any loss during learning is NaN.

    Raises:
      ValueError: the batch has no source.

    Source: Li and Janson 2024, Optimal ablation for interpretability.
    """
    network = as_network(network)
    if batch.source is None:
        raise ValueError("learning optimal constants needs a source to start from, got none")
    start, (n_writers, width) = batch.source, batch.source.shape[2:]

    def squares(part: Part) -> Float[Array, " writer"]:
        return (part.written**2 * part.positions[:, :, None, None]).sum((0, 1, 3))

    # Writers differ in scale by orders of magnitude, but share one learning rate.
    counted = (batch.positions != 0).astype(jnp.float32)
    total = sum_over_rows(squares, params, network, batch._replace(positions=counted))
    scale = jnp.sqrt(total / (counted.sum() * width)) + 1e-6
    optimizer = optax.adam(learning_rate)

    def ablated(constant: Float[Array, " d_model"], writer: Array) -> Float[Array, ""]:
        mask = jax.nn.one_hot(writer, n_writers)

        def run(part: Part, _: Rows) -> Array:
            source = jnp.broadcast_to(constant * scale[writer], part.source.shape)
            return network.run(params, part.clean, NodePatch(mask, source))[0]

        return loss(run_rows(run, params, network, batch), batch)

    def learn(given: tuple[Array, Array]) -> Float[Array, " d_model"]:
        first, writer = given

        def step(state: tuple, _: None) -> tuple[tuple, None]:
            constant, adam, best, least = state
            value, gradient = jax.value_and_grad(ablated)(constant, writer)
            best = jnp.where(value < least, constant, best)
            update, adam = optimizer.update(gradient, adam)
            return (constant + update, adam, best, jnp.minimum(value, least)), None

        begin = (first, optimizer.init(first), first, jnp.array(jnp.inf))
        (_, _, best, least), _ = jax.lax.scan(step, begin, None, steps)
        return jnp.where(jnp.isnan(least), jnp.nan, best * scale[writer])

    starts = start.mean((0, 1)) / scale[:, None]
    constants = jax.lax.map(learn, (starts, jnp.arange(n_writers)))
    return jnp.broadcast_to(constants, start.shape)
