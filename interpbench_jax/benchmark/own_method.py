"""Methods by name: those of the package, and `module:function` from a user's own file."""

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def find_method(name: str) -> Callable[..., Any]:
    """Looks a method up.

    Args:
      name: in `discovery.METHODS`, or `module:function` with the module in the working directory
        or installed. The user's file is imported, and so runs.

    Raises:
      ValueError: there is no such method.
    """
    from interpbench_jax.discovery import get_method

    module, colon, function = name.partition(":")
    if not colon:
        return get_method(name)
    _see_working_directory()
    try:
        found = getattr(importlib.import_module(module), function, None)
    except Exception as error:  # whatever the user's file does
        said = f"{type(error).__name__}: {error}"
        raise ValueError(f"method {name!r}: cannot import {module!r}: {said}") from error
    if not callable(found):
        raise ValueError(f"method {name!r}: {module!r} has no function {function!r}")
    return found


def method_fingerprint(name: str) -> str:
    """Changes when the file of a user's method does; empty for methods of the package.

    Raises:
      ValueError: there is no such module.
    """
    module, colon, _ = name.partition(":")
    if not colon:
        return ""
    _see_working_directory()
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError) as error:
        raise ValueError(f"method {name!r}: cannot find {module!r}: {error}") from error
    if spec is None or spec.origin is None:
        raise ValueError(f"method {name!r}: there is no module {module!r} here or installed")
    return hashlib.sha256(Path(spec.origin).read_bytes()).hexdigest()[:16]


def _see_working_directory() -> None:
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
        importlib.invalidate_caches()
