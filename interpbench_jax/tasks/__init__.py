"""Tasks: the interface of an algorithm to training, evaluation and scoring."""

from interpbench_jax.tasks.causal import CausalModel, CausalTask, causal_tasks, task
from interpbench_jax.tasks.splits import HELD_OUT, Part, Split, pairs_per_part
from interpbench_jax.tasks.task import Answers, Contrast, Pairs, Task, answer_in_chunks

__all__ = [
    "HELD_OUT",
    "Answers",
    "CausalModel",
    "CausalTask",
    "Contrast",
    "Pairs",
    "Part",
    "Split",
    "Task",
    "answer_in_chunks",
    "causal_tasks",
    "pairs_per_part",
    "task",
]
