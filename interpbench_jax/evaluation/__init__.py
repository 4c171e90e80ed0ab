"""Does a model follow its circuit."""

from interpbench_jax.evaluation.edge_effects import edge_effects
from interpbench_jax.evaluation.node_effects import NodeEffects, node_effects
from interpbench_jax.siit import Scores, agreement, validate

__all__ = ["NodeEffects", "Scores", "agreement", "edge_effects", "node_effects", "validate"]
