"""Values of a program as JSON, and back: the same type, the same value.

JSON has text, true and false, null, and numbers that are finite. All else is an object with one
key that says what it is.
"""

from typing import Any

import numpy as np


def to_stored(value: Any) -> Any:
    """Plain data that `from_stored` makes the value of again.

    Args:
      value: a str, bool, int, float, NumPy scalar, None, or a tuple of these.

    Raises:
      ValueError: it is something else.
    """
    if isinstance(value, np.generic):  # before float and str, of which some are
        return {"numpy": value.dtype.str, "bytes": value.tobytes().hex()}
    if isinstance(value, tuple):
        return {"tuple": [to_stored(entry) for entry in value]}
    if isinstance(value, float):
        return {"float": value.hex()}
    if value is None or isinstance(value, str | bool | int):
        return value
    raise ValueError(f"{value!r} is no value that can be stored")


def from_stored(stored: Any) -> Any:
    """The value that `to_stored` was given.

    Raises:
      ValueError: it was given none.
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
    raise ValueError(f"{stored!r} is no stored value")
