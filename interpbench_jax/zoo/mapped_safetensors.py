"""Memory-mapped arrays of a safetensors file."""

import math
from pathlib import Path
from reprlib import repr as short  # a bad value may be as long as a file
from typing import Any, BinaryIO

import jax.numpy as jnp
import numpy as np

from interpbench_jax.files import from_json, opened
from interpbench_jax.files.bounded import MEBIBYTE

_TYPES: dict[str, Any] = {
    **{"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": jnp.bfloat16},
    **{"I64": np.int64, "I32": np.int32, "I16": np.int16, "I8": np.int8},
    **{"U64": np.uint64, "U32": np.uint32, "U16": np.uint16, "U8": np.uint8, "BOOL": np.bool_},
}
_MOST_AXES = 16
_LARGEST = 2**40  # bytes; unused parts are not read
_LONGEST_HEADER = 32 * MEBIBYTE


def map_safetensors(file: Path) -> dict[str, np.ndarray]:
    """The arrays of a file by name, as views of the file that are read when used.

    Each array is mapped separately, so its memory is released with it.

    Args:
      file: a file in the safetensors format: the length of a header in eight bytes, the header as
        JSON, then the arrays.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it is not a regular file, or has another format; the message names the file.
    """
    with opened(file, limit=_LARGEST) as (stream, size):
        length = int.from_bytes(stream.read(8), "little")
        if not 2 <= length <= min(_LONGEST_HEADER, size - 8):
            raise ValueError(f"{file} is not a safetensors file: header of {length} bytes")
        header = from_json(stream.read(length), source=f"the header of {file}")
        if not isinstance(header, dict):
            raise ValueError(f"{file} is not a safetensors file: its header is not an object")
        header.pop("__metadata__", None)
        arrays, start = {}, 8 + length
        for name, entry in header.items():
            try:
                arrays[name] = _array(stream, start, size - start, entry)
            except ValueError as error:
                raise ValueError(f"{file}: weight {short(name)} {error}") from error
    return arrays


def _array(stream: BinaryIO, start: int, n_data: int, entry: Any) -> np.ndarray:
    """The view that an entry of the header describes; array data begin at byte `start`."""
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"is described by {short(entry)}")
    kind, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(kind, str) or kind not in _TYPES:
        raise ValueError(f"has type {short(kind)}, expected one of {', '.join(_TYPES)}")
    for numbers in (shape, offsets):
        if not isinstance(numbers, list) or not all(type(n) is int and n >= 0 for n in numbers):
            raise ValueError(f"has shape {short(shape)} at {short(offsets)}")
    dtype = np.dtype(_TYPES[kind])
    n = math.prod(shape) if len(shape) <= _MOST_AXES else -1
    fits = len(offsets) == 2 and offsets[1] <= n_data
    if not fits or offsets[1] - offsets[0] != n * dtype.itemsize:
        raise ValueError(
            f"of shape {short(shape)} and type {kind} cannot be at {short(offsets)} of "
            f"{n_data} bytes"
        )
    if n == 0:
        return np.zeros(shape, dtype)
    mapped = np.memmap(stream, dtype, "r", offset=start + offsets[0], shape=tuple(shape))
    return np.asarray(mapped)
