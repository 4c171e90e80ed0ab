"""EAP along a path that follows the output's gradient, to avoid saturated regions."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from interpbench_jax.discovery.attribution import (
    PatchOf,
    attribution,
    check_steps,
    input_writers,
)
from interpbench_jax.discovery.batch import ContrastBatch, Loss
from interpbench_jax.discovery.rows import Part, Rows, run_rows
from interpbench_jax.model import NodePatch, Params, TransformerConfig
from interpbench_jax.model.network import Network, as_network


@functools.partial(jax.jit, static_argnames=("network", "loss", "steps"))
def eap_gp(
    params: Params,
    network: TransformerConfig | Network,
    batch: ContrastBatch,
    loss: Loss,
    *,
    steps: int = 5,
) -> Float[Array, "writer reader"]:
    """EAP with gradients averaged along a path on which the output approaches the corrupted one.

    The path starts at the clean input. Row by row, it descends the gradient of the squared distance
    between the logits and those of the source's input, at positions that count. Every step has
    length 1, so the path need not end at the other input, but makes progress even where the output
    hardly changes. The mean is over the points after each step.

    The paper defines a path for every writer. Here one path of inputs serves all edges, as in
    `eap_ig_inputs`.

    Args:
      params: weights.
      network: a transformer's shape, or another network.
      batch: inputs and the source of patches.
      loss: `(logits, batch) -> scalar`.
      steps: number of steps.

    Returns:
      Scores as in `eap`: positive where patching hurts.

    Raises:
      ValueError: `steps` is smaller than 1.

    Source: Zhang et al. 2025, EAP-GP.
    """
    check_steps(steps)
    network, inputs = as_network(network), input_writers(network)
    only_inputs = jnp.zeros(network.graph.n_writers).at[inputs].set(1.0)

    def with_input(value: Array) -> PatchOf:
        return lambda part, rows: NodePatch(
            only_inputs, part.source.at[:, :, inputs].set(value[rows])
        )

    def logits_at(value: Array) -> Array:
        def run(part: Part, rows: Rows) -> Array:
            return network.run(params, part.clean, with_input(value)(part, rows))[0]

        return run_rows(run, params, network, batch)

    clean = run_rows(lambda part, _: part.written[:, :, inputs], params, network, batch)
    goal = logits_at(run_rows(lambda part, _: part.source[:, :, inputs], params, network, batch))

    def distance(value: Array) -> Float[Array, ""]:
        return ((logits_at(value) - goal) ** 2 * batch.positions[:, :, None]).sum() / 2

    def add(state: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], None]:
        value, total = state
        value -= _unit_rows(jax.grad(distance)(value))
        scores = attribution(params, network, batch, loss, with_input(value))
        return (value, total + scores), None

    zero = jnp.zeros(network.graph.valid.shape)
    (_, total), _ = jax.lax.scan(add, (clean, zero), None, steps)
    return total / steps


def _unit_rows(rows: Float[Array, "batch pos input d_model"]) -> Array:
    """Rows of length 1 in the same directions; zero stays zero."""
    norm = jnp.sqrt((rows**2).sum((1, 2, 3), keepdims=True))
    return jnp.where(norm > 0, rows / jnp.where(norm > 0, norm, 1.0), 0.0)
