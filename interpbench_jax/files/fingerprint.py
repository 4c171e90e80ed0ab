"""Fingerprints of everything that a result depends on.

The same function is used for the compile cache, for resuming training and for results: equal
fingerprints mean equal content, on every machine.
"""

import dataclasses
import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_PACKAGE = Path(__file__).parent.parent


def fingerprint(**facts: Any) -> str:
    """A digest of named facts, as 32 hexadecimal digits.

    Values of different types differ: `1`, `1.0`, `True` and `"1"` are four facts. The order of
    names, and of keys in mappings, does not matter.

    Args:
      **facts: `None`, bool, int, float, str, bytes, dataclasses, and lists, tuples and mappings of
        these. A list and a tuple of the same values have the same digest.

    Raises:
      TypeError: a value has another type.
    """
    digest = hashlib.sha256()
    _update(digest, facts)
    return digest.hexdigest()[:32]


def _update(digest: Any, value: Any) -> None:
    """Adds the type, length and content of a value, so that different values never collide."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        value = {"class": type(value).__name__, **fields}
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise TypeError(f"a mapping has keys other than strings: {list(value)}")
        digest.update(b"m%d:" % len(value))
        for key in sorted(value):
            _update(digest, key)
            _update(digest, value[key])
    elif isinstance(value, list | tuple):
        digest.update(b"l%d:" % len(value))
        for entry in value:
            _update(digest, entry)
    elif isinstance(value, bytes):
        digest.update(b"b%d:" % len(value) + value)
    elif value is None or isinstance(value, bool | int | float | str):
        content = f"{type(value).__name__} {value!r}".encode()
        digest.update(b"s%d:" % len(content) + content)
    else:
        raise TypeError(f"no fingerprint of a {type(value).__name__}: {value!r}")


@functools.cache
def source_fingerprint(*places: str) -> str:
    """A digest of the package's own code in some of its folders or files.

    Args:
      *places: paths relative to the package, such as `discovery` or `cases/inputs.py`.

    Raises:
      ValueError: a path has no code.
    """
    sources: dict[str, bytes] = {}
    for place in places:
        found = _PACKAGE / place
        files = sorted(found.rglob("*.py")) if found.is_dir() else [found]
        if not files or not all(file.is_file() for file in files):
            raise ValueError(f"no code in {found}")
        sources |= {file.relative_to(_PACKAGE).as_posix(): file.read_bytes() for file in files}
    return fingerprint(sources=sources)
