"""The table of cases, built-in and user-defined.

A user's file with `@case(...)` programs is added to the built-in ones; see `load_own_files`.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterable
from typing import Any

from tracr.rasp import rasp

from interpbench_jax.cases.case import Case, Value
from interpbench_jax.tasks.own_files import load_own_files

_CASES: dict[str, Case] = {}
_MOST_LISTED = 12  # names in an error


def case(
    name: str, *, vocab: Iterable[Value], **fields: Any
) -> Callable[[Callable[[], rasp.SOp]], Callable[[], rasp.SOp]]:
    """Registers the decorated function as the program of a new case.

    The function takes no arguments and returns a RASP expression; the first line of its docstring
    is the title. Defining the function again (same name, same module), as when a notebook cell is
    run twice, replaces the case.

    Args:
      name: name of the case; it must be a valid file name.
      vocab: the tokens, or a string of one-letter tokens.
      **fields: the other fields of `Case`.

    Raises:
      ValueError: another function has registered the name, or a field is out of range.
    """
    tokens = tuple(vocab)

    def register(program: Callable[[], rasp.SOp]) -> Callable[[], rasp.SOp]:
        known = _CASES.get(name)
        if known is not None and _place(known.program) != _place(program):
            raise ValueError(
                f"case {name!r} is already defined, as {known.title!r} by "
                f"{'.'.join(_place(known.program))}"
            )
        title = (inspect.getdoc(program) or program.__name__).splitlines()[0].rstrip(".")
        _CASES[name] = Case(name=name, title=title, program=program, vocab=tokens, **fields)
        return program

    return register


def case_names() -> tuple[str, ...]:
    """Names of all cases, numbers first and in order."""
    _load_all()
    return tuple(sorted(_CASES, key=lambda n: (not n.isdigit(), int(n) if n.isdigit() else 0, n)))


def get_case(name: str | int) -> Case:
    """Looks a case up by its name.

    Raises:
      ValueError: there is no case of that name.
    """
    _load_all()
    if str(name) not in _CASES:
        raise ValueError(f"unknown case {str(name)!r}; known: {_summary(case_names())}")
    return _CASES[str(name)]


def _load_all() -> None:
    """Imports the built-in programs and the files in `INTERPBENCH_CASES`, each once."""
    programs = importlib.import_module("interpbench_jax.cases.programs")
    for module in pkgutil.iter_modules(programs.__path__, programs.__name__ + "."):
        importlib.import_module(module.name)
    load_own_files()


def _place(program: Callable[..., Any]) -> tuple[str, str]:
    """Where a function is defined; identifies a repeated definition of the same function."""
    return program.__module__, program.__qualname__


def _summary(names: tuple[str, ...]) -> str:
    listed = ", ".join(names[:_MOST_LISTED])
    more = len(names) > _MOST_LISTED
    return f"{listed}, ... ({len(names)} in all)" if more else listed
