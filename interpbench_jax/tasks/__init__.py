"""What training, evaluation and scoring know of an algorithm."""

from interpbench_jax.tasks.causal import CausalModel

__all__ = ["CausalModel"]
