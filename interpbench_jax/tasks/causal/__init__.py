"""Tasks whose algorithm is a hand-written causal model."""

from interpbench_jax.tasks.causal.causal_model import CausalModel

__all__ = ["CausalModel"]
