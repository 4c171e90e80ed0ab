"""Lookup of any task by its name: a compiled RASP program or a causal model."""

from interpbench_jax.compiler.compiled import compile_case
from interpbench_jax.tasks.causal import causal_tasks
from interpbench_jax.tasks.task import Task


def get_task(name: str, *, min_length: int | None = None, same_size: bool = False) -> Task:
    """Looks up a built-in or user-defined task.

    Args:
      name: name of a RASP case or of a causal task.
      min_length: length of the shortest inputs of a RASP case; full length by default.
      same_size: whether the model to be trained is as large as the compiled model.

    Raises:
      ValueError: there is no such task, it cannot be compiled, or one of these settings is given
        for a causal task.
    """
    causal = causal_tasks()
    if str(name) not in causal:
        return compile_case(str(name), min_length=min_length, same_size=same_size)
    for setting, value in (("min_length", min_length), ("same_size", same_size or None)):
        if value is not None:
            raise ValueError(f"{setting} is for RASP programs; task {name} is a causal model")
    return causal[str(name)]
