"""The table of methods; to add one, add a file and a line here."""

import inspect
from collections.abc import Callable
from typing import Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from interpbench_jax.discovery import losses
from interpbench_jax.discovery.acdc import acdc
from interpbench_jax.discovery.activation_magnitude import activation_magnitude
from interpbench_jax.discovery.eap import eap
from interpbench_jax.discovery.eap_clean_corrupted import eap_clean_corrupted
from interpbench_jax.discovery.eap_gp import eap_gp
from interpbench_jax.discovery.eap_ig_activations import eap_ig_activations
from interpbench_jax.discovery.eap_ig_inputs import eap_ig_inputs
from interpbench_jax.discovery.eap_ig_masks import eap_ig_masks
from interpbench_jax.discovery.edge_patching import edge_patching
from interpbench_jax.discovery.edge_probing import edge_probing
from interpbench_jax.discovery.edge_pruning import edge_pruning
from interpbench_jax.discovery.gim import gim
from interpbench_jax.discovery.information_flow_routes import information_flow_routes
from interpbench_jax.discovery.nap import nap
from interpbench_jax.discovery.nap_ig import nap_ig
from interpbench_jax.discovery.node_patching import node_patching
from interpbench_jax.discovery.node_probing import node_probing
from interpbench_jax.discovery.objective import Loss
from interpbench_jax.discovery.oracle import oracle
from interpbench_jax.discovery.random_scores import random_scores
from interpbench_jax.discovery.relp import relp
from interpbench_jax.discovery.structural_prior import structural_prior
from interpbench_jax.discovery.uniform_gradient_sampling import uniform_gradient_sampling
from interpbench_jax.discovery.weight_magnitude import weight_magnitude

Method = Callable[..., Float[Array, "writer reader"] | Float[Array, " writer"]]
"""`method(params, network, batch, loss, **knobs) -> scores`: edges (or writers, for node methods)
are ranked by absolute score."""

METHODS: dict[str, Method] = {
    "eap": eap,
    "eap_clean_corrupted": eap_clean_corrupted,
    "eap_ig_masks": eap_ig_masks,
    "eap_ig_inputs": eap_ig_inputs,
    "eap_ig_activations": eap_ig_activations,
    "eap_gp": eap_gp,
    "gim": gim,
    "relp": relp,
    "nap": nap,
    "nap_ig": nap_ig,
    "edge_patching": edge_patching,
    "node_patching": node_patching,
    "acdc": acdc,
    "node_probing": node_probing,
    "edge_probing": edge_probing,
    "edge_pruning": edge_pruning,
    "uniform_gradient_sampling": uniform_gradient_sampling,
    "information_flow_routes": information_flow_routes,
    "random": random_scores,
    "weight_magnitude": weight_magnitude,
    "activation_magnitude": activation_magnitude,
    "structural_prior": structural_prior,
    "oracle": oracle,
}
"""All methods by name."""

Selection = Literal["top_n", "greedy"]
"""How scores become a circuit: the edges with the best scores, or a search from the logits that
adds the best edge into a node already reached. See `scoring/README.md`."""

NODE_METHODS = frozenset({"nap", "nap_ig", "node_patching", "node_probing"})
"""Methods that score writers; all others score edges."""

# Methods whose papers use a loss against the unpatched model; all others use a loss against the
# right answer, as in the original InterpBench.
_TO_CLEAN = frozenset({"acdc", "edge_pruning", "uniform_gradient_sampling"})


def usual_loss(method: str, categorical: bool) -> Loss:
    """The default loss of a method.

    Args:
      method: a name in `METHODS`; other methods get the loss against the target.
      categorical: whether the task has labels rather than values.
    """
    if method in _TO_CLEAN:
        return losses.loss_to_clean(categorical)
    return losses.loss_to_target(categorical)


# Methods whose papers search from the logits; all others rank edges over the whole model.
# Information flow routes need the search: their scores add up to 1 for every reader, even for
# readers that do not matter.
_GREEDY = frozenset({"eap_clean_corrupted", "eap_ig_inputs", "information_flow_routes"})


def usual_selection(method: str) -> Selection:
    """The selection that a method's paper uses.

    Hanna et al. 2024 (`eap_clean_corrupted`, `eap_ig_inputs`) and Ferrando and Voita 2024
    (`information_flow_routes`) search from the logits; all others take the best edges.

    Args:
      method: a name in `METHODS`; other methods get `top_n`.
    """
    return "greedy" if method in _GREEDY else "top_n"


def get_method(name: str) -> Method:
    """Looks up a method by its name.

    Raises:
      ValueError: there is no method of that name.
    """
    if name not in METHODS:
        raise ValueError(f"unknown method {name!r}; known: {', '.join(METHODS)}")
    return METHODS[name]


def knobs(
    method: Method, *, key: Array | None = None, truth: Array | np.ndarray | None = None
) -> dict[str, Array]:
    """Selects the arguments that a method takes."""
    taken = inspect.signature(method).parameters
    given = {"key": key, "truth": None if truth is None else jnp.asarray(truth)}
    return {name: value for name, value in given.items() if name in taken and value is not None}
