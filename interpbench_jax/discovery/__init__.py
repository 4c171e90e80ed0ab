"""Circuit discovery methods: pure functions from a model and inputs to a score per edge or node."""

from interpbench_jax.discovery.acdc import AcdcCircuits, acdc, acdc_circuits, removal_order
from interpbench_jax.discovery.contrast import DISCOVERY_ABLATIONS, contrast_batch
from interpbench_jax.discovery.eap import eap
from interpbench_jax.discovery.eap_ig_inputs import eap_ig_inputs
from interpbench_jax.discovery.eap_ig_masks import eap_ig_masks
from interpbench_jax.discovery.edge_patching import edge_patching
from interpbench_jax.discovery.edge_probing import probe_edges
from interpbench_jax.discovery.edge_pruning import prune_edges
from interpbench_jax.discovery.losses import LOSSES
from interpbench_jax.discovery.mask_learning import Learning, LearntMasks
from interpbench_jax.discovery.node_patching import node_patching
from interpbench_jax.discovery.node_probing import probe_nodes
from interpbench_jax.discovery.objective import (
    ContrastBatch,
    Loss,
    edge_masked_loss,
    node_masked_loss,
)
from interpbench_jax.discovery.registry import (
    METHODS,
    NODE_METHODS,
    get_method,
    knobs,
    usual_loss,
)
from interpbench_jax.discovery.uniform_gradient_sampling import sample_gradients

__all__ = [
    "DISCOVERY_ABLATIONS",
    "LOSSES",
    "METHODS",
    "NODE_METHODS",
    "AcdcCircuits",
    "ContrastBatch",
    "Learning",
    "LearntMasks",
    "Loss",
    "acdc",
    "acdc_circuits",
    "contrast_batch",
    "eap",
    "eap_ig_inputs",
    "eap_ig_masks",
    "edge_masked_loss",
    "edge_patching",
    "get_method",
    "knobs",
    "node_masked_loss",
    "node_patching",
    "probe_edges",
    "probe_nodes",
    "prune_edges",
    "removal_order",
    "sample_gradients",
    "usual_loss",
]
