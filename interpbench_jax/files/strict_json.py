"""JSON that every reader accepts, without NaN and infinity; written atomically, read with limits.

NaN and infinity in other tools' files are read and written on request.
"""

import json
import math
from collections import Counter
from pathlib import Path
from reprlib import repr as short
from typing import Any

from interpbench_jax.files.bounded import MEBIBYTE, read_text
from interpbench_jax.files.replacing import replacing


def to_json(value: Any, *, indent: int | None = None) -> str:
    """Strict JSON of plain data; a number that is not finite becomes null.

    Raises:
      TypeError: a value is not plain data.
    """
    return json.dumps(finite_or_none(value), indent=indent, allow_nan=False)


def to_python_json(value: Any) -> str:
    """JSON of plain data as Python's own `json` writes it: with `NaN` and `Infinity`.

    For tools that read this form; undone by `from_json(..., constants=True)`.

    Raises:
      TypeError: a value is not plain data.
    """
    return json.dumps(value)


def from_json(text: str | bytes, *, source: str | Path, constants: bool = False) -> Any:
    """Reads strict JSON.

    Args:
      text: the document; bytes are UTF-8.
      source: its name in error messages.
      constants: accept `NaN`, `Infinity` and `-Infinity`, as written by Python's own `json`.

    Raises:
      ValueError: it is not UTF-8 or not JSON, holds NaN or a number that overflows a float, has an
        object with a duplicate name, or is nested too deeply.
    """

    def constant(name: str) -> float:
        if constants:
            return float(name)
        raise ValueError(f"{name} is not JSON")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
            raise ValueError(f"{short(twice)} occurs twice")
        return found

    def finite(digits: str) -> float:
        number = float(digits)
        if math.isinf(number):
            raise ValueError(f"{digits[:20]} is too large for a float")
        return number

    try:
        text = text if isinstance(text, str) else text.decode()
        return json.loads(
            text, parse_constant=constant, parse_float=finite, object_pairs_hook=unique
        )
    except RecursionError:
        raise ValueError(f"{source} cannot be read: nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"{source} cannot be read: {error}") from error


def read_json(file: Path, *, limit: int = 16 * MEBIBYTE) -> Any:
    """Reads a file of strict JSON of at most `limit` bytes.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: as `read_text` and `from_json`; the message names the file.
    """
    return from_json(read_text(file, limit=limit), source=file)


def write_json(file: Path, value: Any) -> None:
    """Writes `to_json` of a value to a file atomically.

    Raises:
      TypeError: a value is not plain data.
      OSError: the file cannot be written.
    """
    text = to_json(value, indent=1)
    with replacing(file) as partial:
        partial.write_text(text + "\n", "utf-8")


def finite_or_none(value: Any) -> Any:
    """The same plain data with None for numbers that are not finite, as `to_json` writes them."""
    if isinstance(value, dict):
        return {key: finite_or_none(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [finite_or_none(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
