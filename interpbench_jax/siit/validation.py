"""Does the model follow its circuit, node by node? Accuracy, IIA and SIIA."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from interpbench_jax.model import NodePatch, Params, TransformerConfig
from interpbench_jax.model.network import Network, as_network
from interpbench_jax.siit.losses import agreement
from interpbench_jax.siit.problem import SiitProblem


class Scores(NamedTuple):
    """Shares of positions that come out as the algorithm says.

    Attributes:
      accuracy: without intervention.
      iia: per variable, when its nodes take their value from the source (interchange
        intervention accuracy).
      siia: per node outside the circuit, when it takes its value from the source and nothing may
        change (strict interchange intervention accuracy).
    """

    accuracy: Float[Array, ""]
    iia: Float[Array, " variable"]
    siia: Float[Array, " free"]

    def worst(self) -> Float[Array, ""]:
        """The smallest of all."""
        both = jnp.concatenate([self.iia, self.siia])
        return jnp.minimum(self.accuracy, both.min(initial=1.0))


@functools.partial(jax.jit, static_argnames="model")
def validate(params: Params, model: TransformerConfig | Network, problem: SiitProblem) -> Scores:
    """Scores a model on every pair of a problem.

    Args:
      params: weights.
      model: a transformer's shape, or another network.
      problem: pairs, targets and nodes.

    Source: Geiger et al. 2022 (IIA); Gupta et al. 2024 (SIIA).
    """
    n_variables, n_free = len(problem.variable_nodes), len(problem.free_nodes)
    nothing = jnp.zeros((1, problem.variable_nodes.shape[1]))
    masks = jnp.concatenate([nothing, problem.variable_nodes, problem.free_nodes])
    # Which target belongs to which mask: the base's, each variable's own, the base's again.
    which = jnp.array([0, *range(1, n_variables + 1), *[0] * n_free])
    targets = jnp.concatenate([problem.base_target[None], problem.variable_targets])
    network = as_network(model)
    _, written = network.run(params, problem.source)

    def score(case: tuple[Array, Array]) -> Float[Array, ""]:
        mask, target = case
        logits, _ = network.run(params, problem.base, NodePatch(mask, written))
        return agreement(logits, targets[target], problem.positions)

    scores = jax.lax.map(score, (masks, which))
    return Scores(scores[0], scores[1 : n_variables + 1], scores[n_variables + 1 :])
