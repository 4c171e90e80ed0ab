"""Results of an earlier run of a script, which are not computed again."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from interpbench_jax.files import from_json, make_directory, read_text, write_json


def kept(file: Path, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The content of a file; if there is no such file, computes the content and writes it."""
    if file.exists():
        return from_json(read_text(file), source=file)
    found = compute()
    make_directory(file.parent)
    write_json(file, found)
    return found
