"""Files with tasks of a user's own, for the command line.

The environment variable `INTERPBENCH_CASES` names them (several are parted as in `PATH`). They are
Python and run; whatever they define with `@case` or `@task` joins the built-in tasks.
"""

import importlib.util
import os
import sys
import traceback
from pathlib import Path

from interpbench_jax.files import fingerprint

OWN_CASES = "INTERPBENCH_CASES"
_LOADED: set[Path] = set()


def load_own_files() -> None:
    """Runs the files that the environment names, each once.

    Raises:
      ValueError: there is no such file, or it fails; the message has the line.
    """
    for name in filter(None, os.environ.get(OWN_CASES, "").split(os.pathsep)):
        file = Path(name).resolve()
        if file not in _LOADED:
            _LOADED.add(file)  # before: what it defines may look up tasks
            try:
                _load_file(file, name)
            except BaseException:
                _LOADED.discard(file)
                raise


def _load_file(file: Path, name: str) -> None:
    """Runs a file of the user's own cases.

    Args:
      file: its whole path.
      name: as the user gave it.

    Raises:
      ValueError: there is none, or it fails; the message has the line.
    """
    module_name = f"interpbench_own_cases_{fingerprint(file=str(file))}"
    spec = importlib.util.spec_from_file_location(module_name, file)
    if spec is None or spec.loader is None or not file.is_file():
        raise ValueError(f"{OWN_CASES} names {name!r}, which is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # where dataclasses look up the names in annotations
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[module_name]
        told = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(
            f"{OWN_CASES} names {name!r}, which fails{_line(error, file)}: {told}"
        ) from error


def _line(error: Exception, file: Path) -> str:
    """In which line of a file an error came up, as words; nothing where it cannot be told."""
    if isinstance(error, SyntaxError):
        return "" if error.lineno is None else f" in line {error.lineno}"
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(file)]
    return f" in line {lines[-1]}" if lines else ""
