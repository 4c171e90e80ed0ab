"""Accuracy of the circuit alone: everything outside it is ablated at once."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from interpbench_jax.evaluation.ablation import Ablation, ablation_source, reference_run
from interpbench_jax.model import NodePatch, Params, TransformerConfig
from interpbench_jax.model.network import Network, as_network
from interpbench_jax.siit import SiitProblem, agreement


def circuit_accuracy(
    params: Params, network: TransformerConfig | Network, problem: SiitProblem, ablation: Ablation
) -> Float[Array, ""]:
    """Share of positions that are right when every node outside the circuit is ablated.

    Args:
      params: weights.
      network: a transformer's shape, or another network.
      problem: pairs, targets and nodes; replacements come from runs on its sources.
      ablation: see `ablation_source`. The original's is `mean_per_position`.

    Raises:
      ValueError: there is no such ablation.

    Source: Gupta et al. 2024, InterpBench, section 5 (circuit realism).
    """
    _, written = reference_run(params, network, problem.source)
    return _accuracy(
        params, network, problem, ablation_source(written, ablation, problem.position_weights)
    )


@functools.partial(jax.jit, static_argnames="network")
def _accuracy(
    params: Params,
    network: TransformerConfig | Network,
    problem: SiitProblem,
    source: Float[Array, "pair pos writer d_model"],
) -> Float[Array, ""]:
    outside = jnp.minimum(problem.free_nodes.sum(0), 1)
    logits, _ = as_network(network).run(params, problem.base, NodePatch(outside, source))
    return agreement(logits, problem.base_target, problem.position_weights)
