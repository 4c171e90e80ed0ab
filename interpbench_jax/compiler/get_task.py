"""Any task by its name: a RASP program, compiled, or a causal model."""

from interpbench_jax.compiler.compiled import compile_case
from interpbench_jax.tasks.causal import causal_tasks
from interpbench_jax.tasks.task import Task


def get_task(name: str, *, min_length: int | None = None, same_size: bool = False) -> Task:
    """Looks a task up, built in or one's own.

    Args:
      name: of a RASP case or of a causal task.
      min_length: length of the shortest inputs of a RASP case, where they shall differ in length.
      same_size: whether the model to be trained is as large as the compiled one.

    Raises:
      ValueError: there is no such task, it cannot be compiled, or a causal task is asked for
        lengths or for the size of a compiled model.
    """
    causal = causal_tasks()
    if str(name) not in causal:
        return compile_case(str(name), min_length=min_length, same_size=same_size)
    for setting, value in (("min_length", min_length), ("same_size", same_size or None)):
        if value is not None:
            raise ValueError(f"{setting} is for RASP programs; task {name} is a causal model")
    return causal[str(name)]
