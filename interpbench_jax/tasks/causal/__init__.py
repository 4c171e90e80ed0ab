"""Tasks whose algorithm is a hand-written causal model."""

from interpbench_jax.tasks.causal.causal_model import CausalModel
from interpbench_jax.tasks.causal.causal_task import CausalTask
from interpbench_jax.tasks.causal.registry import causal_tasks, task

__all__ = ["CausalModel", "CausalTask", "causal_tasks", "task"]
