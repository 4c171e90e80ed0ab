"""The table of cases: built in and the user's own."""

import importlib
import pkgutil
from collections.abc import Callable
from typing import Any

from tracr.rasp import rasp

from interpbench_jax.cases.case import Case

_CASES: dict[str, Case] = {}


def case(name: str, **fields: Any) -> Callable[[Callable[[], rasp.SOp]], Callable[[], rasp.SOp]]:
    """Registers the decorated function as the program of a new case.

    The function takes nothing and returns a RASP expression; the first line of its docstring is
    the title. `fields` are those of `Case`: at least `vocab`, which may be a string of
    one-letter tokens.

    Raises:
      ValueError: the name is taken, or a field is out of range.
    """

    def register(program: Callable[[], rasp.SOp]) -> Callable[[], rasp.SOp]:
        if name in _CASES:
            raise ValueError(f"case {name!r} is already defined, as {_CASES[name].title!r}")
        title = (program.__doc__ or program.__name__).splitlines()[0].rstrip(".")
        vocab = tuple(fields.pop("vocab"))
        _CASES[name] = Case(name=name, title=title, program=program, vocab=vocab, **fields)
        return program

    return register


def case_names() -> tuple[str, ...]:
    """Names of all cases, numbers first and in order."""
    _load_built_in()
    return tuple(sorted(_CASES, key=lambda n: (not n.isdigit(), int(n) if n.isdigit() else 0, n)))


def get_case(name: str | int) -> Case:
    """Looks a case up by its name.

    Raises:
      ValueError: there is none of that name.
    """
    _load_built_in()
    if str(name) not in _CASES:
        raise ValueError(f"unknown case {str(name)!r}; known: {_summary(case_names())}")
    return _CASES[str(name)]


def _load_built_in() -> None:
    """Imports every module of programs once; each registers its cases."""
    programs = importlib.import_module("interpbench_jax.cases.programs")
    for module in pkgutil.iter_modules(programs.__path__, programs.__name__ + "."):
        importlib.import_module(module.name)


def _summary(names: tuple[str, ...], shown: int = 12) -> str:
    listed = ", ".join(names[:shown])
    return listed if len(names) <= shown else f"{listed}, ... ({len(names)} in all)"
