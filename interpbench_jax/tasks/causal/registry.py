"""The table of causal tasks, built-in and user-defined."""

import functools
from collections.abc import Callable, Mapping

from interpbench_jax.tasks.causal.causal_task import CausalTask
from interpbench_jax.tasks.own_files import load_own_files

_OWN: dict[str, tuple[Callable[[], CausalTask], CausalTask]] = {}


def task(make: Callable[[], CausalTask]) -> Callable[[], CausalTask]:
    """Registers the causal task that the decorated function returns, under the task's name.

    Defining the same function again, as when a notebook cell is run twice, replaces the task.

    Raises:
      ValueError: the name is taken, or the function returns something else.
    """
    made = make()
    if not isinstance(made, CausalTask):
        raise ValueError(f"{make.__name__} returns a {type(made).__name__}, expected a CausalTask")
    if made.name in _built_in():
        raise ValueError(f"task {made.name!r} is built in")
    before = _OWN.get(made.name)
    if before is not None and _identity(before[0]) != _identity(make):
        raise ValueError(f"task {made.name!r} is already defined, as {before[1].title!r}")
    _OWN[made.name] = make, made
    return make


def causal_tasks() -> Mapping[str, CausalTask]:
    """All causal tasks by name: first the built-in ones, then the user's."""
    load_own_files()
    return {**_built_in(), **{name: made for name, (_, made) in _OWN.items()}}


def _identity(make: Callable[[], CausalTask]) -> tuple[str, str]:
    return make.__module__, make.__qualname__


@functools.cache
def _built_in() -> dict[str, CausalTask]:
    from interpbench_jax.tasks.causal.ioi.task import ioi_tasks

    return {made.name: made for made in ioi_tasks()}
