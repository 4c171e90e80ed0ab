"""Conversion of a program's values to JSON and back; keeps type and value.

Strings, true, false, null and finite numbers are stored as such. Everything else is an object with
one key that names its type.
"""

from typing import Any

import numpy as np


def to_stored(value: Any) -> Any:
    """Converts a value to plain data; `from_stored` converts it back.

    Args:
      value: a str, bool, int, float, NumPy scalar, None, or a tuple of these.

    Raises:
      ValueError: the value has another type.
    """
    if isinstance(value, np.generic):  # first: some are also float or str
        return {"numpy": value.dtype.str, "bytes": value.tobytes().hex()}
    if isinstance(value, tuple):
        return {"tuple": [to_stored(entry) for entry in value]}
    if isinstance(value, float):
        return {"float": value.hex()}
    if value is None or isinstance(value, str | bool | int):
        return value
    raise ValueError(f"{value!r} cannot be stored")


def from_stored(stored: Any) -> Any:
    """The value that `to_stored` was given.

    Raises:
      ValueError: the data is not a result of `to_stored`.
    """
    match stored:
        case {"numpy": str(dtype), "bytes": str(content)}:
            return np.frombuffer(bytes.fromhex(content), np.dtype(dtype))[0]
        case {"tuple": list(entries)}:
            return tuple(from_stored(entry) for entry in entries)
        case {"float": str(digits)}:
            return float.fromhex(digits)
        case None | str() | bool() | int():
            return stored
    raise ValueError(f"{stored!r} is not a stored value")
