"""Compiled cases on disk. A damaged entry counts as missing.

An entry is a digest followed by safetensors: the weights, and the rest as JSON in an array of
bytes. Its name is a fingerprint of the case and of the code that compiled it. `INTERPBENCH_CACHE`
sets another directory.
"""

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
import safetensors.numpy

from interpbench_jax.files import (
    fingerprint,
    from_json,
    read_bytes,
    replacing,
    source_fingerprint,
    to_json,
)

_DESCRIPTION = "description"
_LARGEST = 2**30
_MADE_BY = ("compiler", "model", "cases/inputs.py", "cases/samplers.py", "cases/case.py")


def read(content: str) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
    """Weights by name and description of an entry; None if there is none, or it is damaged.

    Args:
      content: the case's fingerprint.
    """
    file = _file(content)
    try:
        stored = read_bytes(file, limit=_LARGEST)
    except (FileNotFoundError, ValueError):
        return None
    size = hashlib.sha256().digest_size
    digest, entry = stored[:size], stored[size:]
    if digest != _digest(file, entry):
        return None
    arrays = safetensors.numpy.load(entry)
    text = arrays.pop(_DESCRIPTION).tobytes().decode()
    return arrays, from_json(text, source=file)


def write(content: str, arrays: dict[str, np.ndarray], description: dict[str, Any]) -> None:
    """Stores an entry, whole or not at all; if it cannot be written, the case is recompiled later.

    Args:
      content: the case's fingerprint.
      arrays: weights by name.
      description: plain data.
    """
    file = _file(content)
    # safetensors writes the memory in order and ignores strides.
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    contiguous[_DESCRIPTION] = np.frombuffer(to_json(description).encode(), np.uint8)
    entry = safetensors.numpy.save(contiguous)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as partial:
            partial.write_bytes(_digest(file, entry) + entry)
    except OSError:
        return


def _digest(file: Path, entry: bytes) -> bytes:
    """Digest of the entry and its name: an entry under another name does not match."""
    return hashlib.sha256(file.name.encode() + entry).digest()


def _file(content: str) -> Path:
    place = os.environ.get("INTERPBENCH_CACHE") or platformdirs.user_cache_dir("interpbench_jax")
    name = fingerprint(content=content, made_by=source_fingerprint(*_MADE_BY))
    return Path(place) / "compiled" / f"{name}.compiled"
