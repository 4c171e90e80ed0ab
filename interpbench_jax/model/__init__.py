"""The transformer, its graph, and interventions on it."""

from interpbench_jax.model.attention_weights import attention_weights
from interpbench_jax.model.backward import Backward
from interpbench_jax.model.circuit import Circuit
from interpbench_jax.model.config import TransformerConfig
from interpbench_jax.model.decoders import DecoderConfig
from interpbench_jax.model.forward import forward, forward_interchanges
from interpbench_jax.model.graph import Graph, transformer_graph
from interpbench_jax.model.network import DecoderNetwork, Network, with_backward
from interpbench_jax.model.patch import EdgePatch, NodePatch, Nudge, Patch
from interpbench_jax.model.shapes import weight_shapes
from interpbench_jax.model.transformer import Params, Transformer, init_params
from interpbench_jax.model.wiring import Wires

__all__ = [
    "Backward",
    "Circuit",
    "DecoderConfig",
    "DecoderNetwork",
    "EdgePatch",
    "Graph",
    "Network",
    "NodePatch",
    "Nudge",
    "Params",
    "Patch",
    "Transformer",
    "TransformerConfig",
    "Wires",
    "attention_weights",
    "forward",
    "forward_interchanges",
    "init_params",
    "transformer_graph",
    "weight_shapes",
    "with_backward",
]
