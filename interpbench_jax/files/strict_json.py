"""JSON that every reader accepts: no NaN, no infinity, written whole, read within bounds."""

import json
import math
from pathlib import Path
from typing import Any

from interpbench_jax.files.bounded import MEBIBYTE, read_text
from interpbench_jax.files.replacing import replacing


def to_json(value: Any, *, indent: int | None = None) -> str:
    """Strict JSON of plain data; a number that is not finite becomes null.

    Raises:
      TypeError: something is not plain data.
    """
    return json.dumps(_finite(value), indent=indent, allow_nan=False)


def from_json(text: str | bytes, *, source: str | Path) -> Any:
    """Reads strict JSON.

    Args:
      text: the document; bytes are UTF-8.
      source: what the error message calls it.

    Raises:
      ValueError: it is not UTF-8 or not JSON, holds NaN or a number that is infinite as a float, or
        is nested too deeply.
    """

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    def finite(digits: str) -> float:
        number = float(digits)
        if math.isinf(number):
            raise ValueError(f"{digits[:20]} is too large for a float")
        return number

    try:
        text = text if isinstance(text, str) else text.decode()
        return json.loads(text, parse_constant=refuse, parse_float=finite)
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


def write_json(file: Path, value: Any, *, indent: int | None = 1) -> None:
    """Writes `to_json` of a value to a file, whole or not at all.

    Raises:
      TypeError: something is not plain data.
      OSError: the file cannot be written.
    """
    text = to_json(value, indent=indent)
    with replacing(file) as partial:
        partial.write_text(text + "\n")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
