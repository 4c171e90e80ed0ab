"""Circuit discovery methods: pure functions from a model and inputs to a score per edge or node."""

from interpbench_jax.discovery.acdc import AcdcCircuits, acdc, acdc_circuits, removal_order
from interpbench_jax.discovery.activation_magnitude import activation_magnitude
from interpbench_jax.discovery.batch import ContrastBatch, Loss
from interpbench_jax.discovery.contrast import DISCOVERY_ABLATIONS, contrast_batch
from interpbench_jax.discovery.eap import eap
from interpbench_jax.discovery.eap_clean_corrupted import eap_clean_corrupted
from interpbench_jax.discovery.eap_gp import eap_gp
from interpbench_jax.discovery.eap_ig_activations import eap_ig_activations
from interpbench_jax.discovery.eap_ig_inputs import eap_ig_inputs
from interpbench_jax.discovery.eap_ig_masks import eap_ig_masks
from interpbench_jax.discovery.edge_patching import edge_patching
from interpbench_jax.discovery.edge_probing import edge_probing, probe_edges
from interpbench_jax.discovery.edge_pruning import edge_pruning, prune_edges
from interpbench_jax.discovery.gim import gim
from interpbench_jax.discovery.information_flow_routes import information_flow_routes
from interpbench_jax.discovery.losses import (
    absolute_error,
    cross_entropy,
    kl_to_clean,
    logit_difference,
    named_loss,
    squared_error,
    squared_error_to_clean,
)
from interpbench_jax.discovery.mask_learning import Learning, LearntMasks
from interpbench_jax.discovery.nap import nap
from interpbench_jax.discovery.nap_ig import nap_ig
from interpbench_jax.discovery.node_patching import node_patching
from interpbench_jax.discovery.node_probing import node_probing, probe_nodes
from interpbench_jax.discovery.objective import edge_masked_loss, node_masked_loss
from interpbench_jax.discovery.oracle import oracle
from interpbench_jax.discovery.random_scores import random_scores
from interpbench_jax.discovery.registry import (
    METHODS,
    NODE_METHODS,
    Selection,
    get_method,
    knobs,
    usual_loss,
    usual_selection,
)
from interpbench_jax.discovery.relp import relp
from interpbench_jax.discovery.structural_prior import structural_prior
from interpbench_jax.discovery.uniform_gradient_sampling import (
    sample_gradients,
    uniform_gradient_sampling,
)
from interpbench_jax.discovery.weight_magnitude import weight_magnitude

__all__ = [
    "DISCOVERY_ABLATIONS",
    "METHODS",
    "NODE_METHODS",
    "AcdcCircuits",
    "ContrastBatch",
    "Learning",
    "LearntMasks",
    "Loss",
    "Selection",
    "absolute_error",
    "acdc",
    "acdc_circuits",
    "activation_magnitude",
    "contrast_batch",
    "cross_entropy",
    "eap",
    "eap_clean_corrupted",
    "eap_gp",
    "eap_ig_activations",
    "eap_ig_inputs",
    "eap_ig_masks",
    "edge_masked_loss",
    "edge_patching",
    "edge_probing",
    "edge_pruning",
    "get_method",
    "gim",
    "information_flow_routes",
    "kl_to_clean",
    "knobs",
    "logit_difference",
    "named_loss",
    "nap",
    "nap_ig",
    "node_masked_loss",
    "node_patching",
    "node_probing",
    "oracle",
    "probe_edges",
    "probe_nodes",
    "prune_edges",
    "random_scores",
    "relp",
    "removal_order",
    "sample_gradients",
    "squared_error",
    "squared_error_to_clean",
    "structural_prior",
    "uniform_gradient_sampling",
    "usual_loss",
    "usual_selection",
    "weight_magnitude",
]
