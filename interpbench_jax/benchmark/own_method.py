"""Lookup of methods by name: methods of the package, and of a user's file or module.

For `module:function` the module is in the working directory or installed; `file.py:function` is a
path to a file.
"""

import ast
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from interpbench_jax.files import error_text, fingerprint


def find_method(name: str) -> Callable[..., Any]:
    """Looks up a method.

    Args:
      name: a name in `discovery.METHODS`, `module:function` or `file.py:function`. The user's file
        is imported, and thus executed; it can import modules in the same folder. If one of these
        has changed since an earlier call, all are imported again.

    Raises:
      ValueError: there is no such method.
    """
    from interpbench_jax.discovery import get_method

    module, colon, function = name.rpartition(":")
    if not colon:
        return get_method(name)
    file = _source_file(name)
    try:
        _forget_if_changed(file)
        loaded = _load(file) if module.endswith(".py") else importlib.import_module(module)
    except Exception as error:  # the user's file may raise anything
        raise ValueError(
            f"method {name!r}: cannot import {module!r}: {error_text(error)}"
        ) from error
    found = getattr(loaded, function, None)
    if not callable(found):
        raise ValueError(f"method {name!r}: {module!r} has no function {function!r}")
    return found


def named_methods(names: Sequence[str]) -> tuple[str, ...]:
    """The names, with `all` replaced by the names of every method of the package."""
    if "all" not in names:
        return tuple(names)
    from interpbench_jax.discovery import METHODS

    return tuple(name for given in names for name in (METHODS if given == "all" else (given,)))


def method_label(name: str) -> str:
    """A method's name in results: without the folder of a user's file."""
    module, colon, function = name.rpartition(":")
    return f"{Path(module).name}:{function}" if module.endswith(".py") and colon else name


def method_fingerprint(name: str) -> str:
    """A digest of a user's method; empty for methods of the package. Runs nothing.

    It covers the method's file and the modules in the same folder that it imports, directly or not.

    Raises:
      ValueError: there is no such file or module.
    """
    if ":" not in name:
        return ""
    return _digest(_source_file(name))


def _digest(file: Path) -> str:
    """A digest of a file and of the modules in its folder that it imports."""
    sources = {found.relative_to(file.parent).as_posix(): source for found, source in _used(file)}
    return fingerprint(sources=sources)


_IMPORTED: dict[Path, str] = {}
"""The digest of every file that was imported, at that time."""


def _forget_if_changed(file: Path) -> None:
    """Removes a file and the modules beside it that it imports from Python's imported modules."""
    digest = _digest(file)
    if _IMPORTED.get(file, digest) != digest:
        used = {found for found, _ in _used(file)}
        for name, module in list(sys.modules.items()):
            if (place := getattr(module, "__file__", None)) and Path(place) in used:
                del sys.modules[name]
        importlib.invalidate_caches()
    _IMPORTED[file] = digest


def _source_file(name: str) -> Path:
    """The file of a user's method; adds its folder to the import path."""
    module = name.rpartition(":")[0]
    if module.endswith(".py"):
        file = Path(module).resolve()
        if not file.is_file():
            raise ValueError(f"method {name!r}: there is no file {module!r}")
        _see(file.parent)
        return file
    _see(Path.cwd())
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError) as error:
        raise ValueError(f"method {name!r}: cannot find {module!r}: {error}") from error
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        raise ValueError(f"method {name!r}: there is no module {module!r} here or installed")
    return Path(spec.origin)


def _used(file: Path) -> Iterator[tuple[Path, bytes]]:
    """A file, and the modules in its folder that it imports, directly or not, with content."""
    waiting, seen = [file], {file}
    while waiting:
        current = waiting.pop()
        content = current.read_bytes()
        yield current, content
        imported = {
            found
            for name in _imported(content)
            for found in (file.parent / f"{name}.py", *(file.parent / name).rglob("*.py"))
            if found.is_file()
        }
        waiting += sorted(imported - seen)
        seen |= imported


def _imported(source: bytes) -> set[str]:
    """Top-level names of all modules that a source imports; empty if it does not parse."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return set()
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [node.module] if node.module else [alias.name for alias in node.names]
    return {name.partition(".")[0] for name in names}


def _load(file: Path) -> ModuleType:
    """Imports a file under a name that no installed module has."""
    name = f"interpbench_own_method_{hashlib.sha256(str(file).encode()).hexdigest()[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is not a Python file")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)  # for dataclasses
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _see(directory: Path) -> None:
    if str(directory) not in sys.path:
        sys.path.insert(0, str(directory))
        importlib.invalidate_caches()
