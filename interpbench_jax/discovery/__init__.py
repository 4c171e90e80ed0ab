"""Circuit discovery methods: pure functions from a model and inputs to a score per edge."""

from interpbench_jax.discovery.acdc import acdc, acdc_circuits, removal_order
from interpbench_jax.discovery.contrast import DISCOVERY_ABLATIONS, contrast_batch
from interpbench_jax.discovery.eap import eap
from interpbench_jax.discovery.eap_ig_masks import eap_ig_masks
from interpbench_jax.discovery.objective import (
    ContrastBatch,
    Loss,
    edge_masked_loss,
    node_masked_loss,
)
from interpbench_jax.discovery.registry import METHODS, get_method, usual_loss

__all__ = [
    "DISCOVERY_ABLATIONS",
    "METHODS",
    "ContrastBatch",
    "Loss",
    "acdc",
    "acdc_circuits",
    "contrast_batch",
    "eap",
    "eap_ig_masks",
    "edge_masked_loss",
    "get_method",
    "node_masked_loss",
    "removal_order",
    "usual_loss",
]
