"""State dicts in the format of `torch.save`, written without torch.

The file is a zip archive whose entries are uncompressed: `data.pkl` is a pickle of a dict of
tensors, which refers to their memory in `data/0`, `data/1`, ...
"""

import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

_STORAGES = {"float16": "Half", "float32": "Float", "float64": "Double", "int64": "Long"}
_WHEN = (1980, 1, 1, 0, 0, 0)  # a fixed date, so that the bytes are reproducible


def write_torch(state: Mapping[str, np.ndarray], file: Path) -> None:
    """Writes arrays by name; `torch.load` reads a dict of tensors, also with `weights_only`.

    Raises:
      ValueError: an array has a type that is not supported.
      OSError: the file cannot be written.
    """
    items = b"".join(
        _text(name) + _tensor(str(index), name, array)
        for index, (name, array) in enumerate(state.items())
    )
    with zipfile.ZipFile(file, "w") as archive:

        def add(name: str, content: bytes | memoryview) -> None:
            with archive.open(zipfile.ZipInfo(f"archive/{name}", _WHEN), "w") as entry:
                entry.write(content)

        add("data.pkl", b"\x80\x02}(" + items + b"u.")
        add("byteorder", b"little")
        for index, array in enumerate(state.values()):
            plain = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
            add(f"data/{index}", plain.reshape(-1).view(np.uint8).data)
        add("version", b"3\n")


def _tensor(key: str, name: str, array: np.ndarray) -> bytes:
    """The pickled call that makes a tensor from a storage, an offset, sizes and strides."""
    if array.dtype.name not in _STORAGES:
        raise ValueError(f"{name!r} has type {array.dtype}, expected one of {', '.join(_STORAGES)}")
    kind = _global("torch", f"{_STORAGES[array.dtype.name]}Storage")
    storage = _tuple(_text("storage"), kind, _text(key), _text("cpu"), _integer(array.size))
    strides = np.zeros(array.shape, np.int8).strides  # in elements: an int8 has one byte
    return (
        _global("torch._utils", "_rebuild_tensor_v2")
        + _tuple(
            storage + b"Q",  # replaces the name by its memory
            _integer(0),
            _tuple(*map(_integer, array.shape)),
            _tuple(*map(_integer, strides)),
            b"\x89",  # requires_grad is False
            _global("collections", "OrderedDict") + b")R",  # no hooks
        )
        + b"R"
    )


def _text(value: str) -> bytes:
    encoded = value.encode()
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def _integer(value: int) -> bytes:
    encoded = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(encoded)]) + encoded


def _tuple(*values: bytes) -> bytes:
    return b"(" + b"".join(values) + b"t"


def _global(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()
