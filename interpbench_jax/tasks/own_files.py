"""Files with user-defined tasks, for the command line.

The environment variable `INTERPBENCH_CASES` lists them (separated as in `PATH`). They are executed
as Python; what they define with `@case` or `@task` is added to the built-in tasks.
"""

import importlib.util
import os
import sys
import traceback
from pathlib import Path

from interpbench_jax.files import error_text, fingerprint

OWN_CASES = "INTERPBENCH_CASES"
_LOADED: set[Path] = set()


def load_own_files() -> None:
    """Runs each file that the environment variable lists, once.

    Raises:
      ValueError: a file does not exist or fails; the message gives the line.
    """
    for name in filter(None, os.environ.get(OWN_CASES, "").split(os.pathsep)):
        file = Path(name).resolve()
        if file not in _LOADED:
            _LOADED.add(file)  # before it runs, since the file may look up tasks
            try:
                _load_file(file, name)
            except BaseException:
                _LOADED.discard(file)
                raise


def _load_file(file: Path, name: str) -> None:
    """Runs a file with the user's own tasks.

    Args:
      file: its absolute path.
      name: its path as the user wrote it.

    Raises:
      ValueError: it does not exist or fails; the message gives the line.
    """
    module_name = f"interpbench_own_cases_{fingerprint(file=str(file))}"
    spec = importlib.util.spec_from_file_location(module_name, file)
    if spec is None or spec.loader is None or not file.is_file():
        raise ValueError(f"{OWN_CASES} names {name!r}, which is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # where dataclasses look up the names in annotations
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[module_name]
        raise ValueError(
            f"{OWN_CASES} names {name!r}, which fails{_line(error, file)}: {error_text(error)}"
        ) from error


def _line(error: Exception, file: Path) -> str:
    """The words ` in line N` for the line of a file that raised an error; empty if unknown."""
    if isinstance(error, SyntaxError):
        return "" if error.lineno is None else f" in line {error.lineno}"
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(file)]
    return f" in line {lines[-1]}" if lines else ""
