"""How good a found circuit is."""

from interpbench_jax.scoring.roc import Level, Roc, edge_roc, node_roc

__all__ = ["Level", "Roc", "edge_roc", "node_roc"]
