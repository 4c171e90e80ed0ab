"""The table of cases: built in and the user's own.

A file of one's own with `@case(...)` programs joins the built-in ones, on the command line too,
when the environment variable `INTERPBENCH_CASES` names it (several are parted as in `PATH`).
"""

import importlib
import importlib.util
import os
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tracr.rasp import rasp

from interpbench_jax.cases.case import Case

OWN_CASES = "INTERPBENCH_CASES"
_CASES: dict[str, Case] = {}
_LOADED: set[str] = set()


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
    _load_all()
    return tuple(sorted(_CASES, key=lambda n: (not n.isdigit(), int(n) if n.isdigit() else 0, n)))


def get_case(name: str | int) -> Case:
    """Looks a case up by its name.

    Raises:
      ValueError: there is none of that name.
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
    for file in filter(None, os.environ.get(OWN_CASES, "").split(os.pathsep)):
        if file not in _LOADED:
            _load_file(file)
            _LOADED.add(file)


def _load_file(file: str) -> None:
    name = f"interpbench_own_cases_{len(_LOADED)}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None or not Path(file).is_file():
        raise ValueError(f"{OWN_CASES} names {file!r}, which is no Python file")
    spec.loader.exec_module(importlib.util.module_from_spec(spec))


def _summary(names: tuple[str, ...], shown: int = 12) -> str:
    listed = ", ".join(names[:shown])
    return listed if len(names) <= shown else f"{listed}, ... ({len(names)} in all)"
