"""Files of `torch.save`, read without torch and without running anything in them.

Such a file is a zip archive whose entries are uncompressed: `data.pkl` is a pickle that refers to
the entries `data/0`, `data/1`, ..., each the memory of one storage; `byteorder` and `version`
describe the format. A tensor is a storage with an offset, a size and strides.
"""

import math
import struct
import zlib
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from reprlib import repr as short
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from interpbench_jax.files import opened
from interpbench_jax.files.bounded import MEBIBYTE
from interpbench_jax.zoo.plain_pickle import LARGEST as LARGEST_PICKLE
from interpbench_jax.zoo.plain_pickle import read_pickle

LARGEST = 2**33
"""The most bytes of a file: 2**31 weights in float32."""

_DTYPES = {
    "Half": np.dtype(np.float16),
    "BFloat16": np.dtype(jnp.bfloat16),
    "Float": np.dtype(np.float32),
    "Double": np.dtype(np.float64),
    "Byte": np.dtype(np.uint8),
    "Char": np.dtype(np.int8),
    "Short": np.dtype(np.int16),
    "Int": np.dtype(np.int32),
    "Long": np.dtype(np.int64),
    "Bool": np.dtype(np.bool_),
}
_MOST_AXES = 32
_MOST_ENTRIES = 100_000
_LONGEST_MESSAGE = 500
_SPARE = 64 * MEBIBYTE  # tensors may be larger than their storages, by strides of 0
_LEGACY = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # a pickle of torch's magic number

# The parts of a zip archive that are read, little-endian.
_LOCAL = struct.Struct("<4s22sHH")
_CENTRAL = struct.Struct("<4s4sHHHHIIIHHHHHII")
_END = struct.Struct("<4sHHHHIIH")
_END64 = struct.Struct("<4sQHHIIQQQQ")
_LOCATOR64 = struct.Struct("<4sIQI")
_IN_EXTRA = 2**32 - 1  # marks a number that is in the extra field
_ZIP64, _ENCRYPTED = 1, 1


def read_torch(path: str | Path, *, limit: int = LARGEST) -> Any:
    """Reads what `torch.save` wrote, with NumPy arrays in place of tensors.

    Args:
      path: path of the file, in the zip format (the default since torch 1.6).
      limit: the largest file that is read, in bytes.

    Returns:
      Nested dicts, lists, tuples, arrays and plain values. Tensors that share memory in torch share
      it here; arrays are writable and own their memory. A dtype is its name (`"float32"`), a device
      its text, a `torch.Size` a tuple, an `OrderedDict` a dict.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it has another format, is damaged or too large, holds anything other than plain
        data and tensors of bool, integers, float16, bfloat16, float32 and float64, or its tensors
        are larger than its storages. The message is one line and names the file.
    """
    path = Path(path)
    with opened(path, limit=limit) as (stream, size):
        try:
            return _Archive(stream, size).value()
        except ValueError as error:
            raise ValueError(f"{path} cannot be read: {str(error)[:_LONGEST_MESSAGE]}") from error


class _Entry(NamedTuple):
    """A file in the archive: where its local header starts, its size and checksum."""

    name: bytes
    start: int
    size: int
    crc: int


class _Storage(NamedTuple):
    """The memory of one or more tensors, as bytes, and the type of the numbers in it."""

    content: np.ndarray
    dtype: np.dtype

    @property
    def size(self) -> int:
        """The number of elements."""
        return self.content.size // self.dtype.itemsize


class _Archive:
    """One opened file."""

    def __init__(self, stream: FileIO, size: int) -> None:
        self._stream = stream
        self._size = size
        self._entries = self._read_directory()
        self._storages: dict[str, _Storage] = {}
        self._left = 4 * size + _SPARE  # bytes of tensors

    def value(self) -> Any:
        order = self._small("byteorder", default=b"little")
        if order != b"little":
            raise ValueError(f"its byte order is {short(order)}, expected little")
        self._small("version")
        if (largest := self._entry("data.pkl").size) > LARGEST_PICKLE:
            raise ValueError(f"its pickle has {largest} bytes, expected at most {LARGEST_PICKLE}")
        content = self._content("data.pkl").tobytes()
        return read_pickle(content, self._stand_ins(), persistent=self._storage)

    def _stand_ins(self) -> dict[str, Any]:
        return {
            "collections.OrderedDict": _OrderedDict,
            "torch._utils._rebuild_tensor_v2": self._tensor,
            "torch._utils._rebuild_parameter": _parameter,
            **{f"torch.{name}Storage": dtype for name, dtype in _DTYPES.items()},
            **TORCH_VALUES,
        }

    def _storage(self, reference: Any) -> "_Storage":
        """The memory that a persistent id refers to, read at the first reference."""
        match reference:
            case ("storage", np.dtype() as dtype, str(key), str(), int(n)):
                pass
            case _:
                raise ValueError(f"a reference to {short(reference)}, expected a storage")
        if key not in self._storages:
            entry = self._entry(f"data/{key}")
            if entry.size != n * dtype.itemsize:
                raise ValueError(
                    f"storage {short(key)} has {entry.size} bytes, expected {n} of {dtype}"
                )
            self._storages[key] = _Storage(self._content(f"data/{key}"), dtype)
        found = self._storages[key]
        if (found.dtype, found.size) != (dtype, n):
            raise ValueError(f"storage {short(key)} is of {found.dtype} and of {dtype}")
        return found

    def _tensor(
        self,
        storage: Any,
        offset: Any,
        shape: Any,
        strides: Any,
        requires_grad: Any,
        hooks: Any,
        metadata: Any = None,
    ) -> np.ndarray:
        """Stand-in for `torch._utils._rebuild_tensor_v2`."""
        if not isinstance(storage, _Storage):
            raise ValueError("a tensor without a storage")
        if metadata:  # for example that all numbers are negated
            raise ValueError(f"a tensor with {short(metadata)}, which is not known")
        if not (_are_sizes((offset,)) and _are_sizes(shape) and _are_sizes(strides)):
            raise ValueError(f"a tensor of size {short(shape)} with strides {short(strides)}")
        if len(shape) != len(strides) or len(shape) > _MOST_AXES:
            raise ValueError(f"a tensor of {len(shape)} axes with {len(strides)} strides")
        n_bytes = math.prod(shape) * storage.dtype.itemsize
        last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
        if n_bytes and last >= storage.size:
            raise ValueError(
                f"a tensor of size {short(shape)} reaches element {last} of {storage.size}"
            )
        self._left -= n_bytes
        if self._left < 0 or sum(shape) > 2**40:
            raise ValueError("its tensors are far larger than the file")
        if not n_bytes:
            return np.empty(shape, storage.dtype)
        in_bytes = tuple(stride * storage.dtype.itemsize for stride in strides)
        start = offset * storage.dtype.itemsize
        return np.ndarray(shape, storage.dtype, storage.content, start, in_bytes)

    def _small(self, name: str, *, default: bytes | None = None) -> bytes:
        if default is not None and name not in self._entries:
            return default
        if self._entry(name).size > 100:
            raise ValueError(f"its entry {name} has {self._entry(name).size} bytes")
        return self._content(name).tobytes()

    def _entry(self, name: str) -> _Entry:
        if name not in self._entries:
            raise ValueError(f"it has no entry {short(name)}")
        return self._entries[name]

    def _content(self, name: str) -> np.ndarray:
        """The bytes of an entry, in a new array."""
        entry = self._entry(name)
        local = self._read(entry.start, _LOCAL.size)
        signature, _, n_name, n_extra = _LOCAL.unpack(local)
        start = entry.start + _LOCAL.size
        if signature != b"PK\x03\x04" or self._read(start, n_name) != entry.name:
            raise ValueError(f"its entry {short(name)} is damaged: another header")
        content = np.empty(entry.size, np.uint8)
        self._fill(content, start + n_name + n_extra)
        if zlib.crc32(content.data) != entry.crc:
            raise ValueError(f"its entry {short(name)} is damaged: its checksum differs")
        return content

    def _fill(self, content: np.ndarray, start: int) -> None:
        if start + content.size > self._size:
            raise ValueError("it is truncated")
        self._stream.seek(start)
        left = content.data
        while left:
            n_read = self._stream.readinto(left)
            if not n_read:
                raise ValueError("it is truncated")
            left = left[n_read:]

    def _read(self, start: int, n: int) -> bytes:
        content = np.empty(n, np.uint8)
        self._fill(content, start)
        return content.tobytes()

    def _read_directory(self) -> dict[str, _Entry]:
        """The archive's entries by name, without their common folder.

        Raises:
          ValueError: it is not an archive of `torch.save`, or the entries exceed it.
        """
        first = self._read(0, min(self._size, len(_LEGACY)))
        if first == _LEGACY:
            raise ValueError(
                "it is in torch's format before version 1.6; load it with torch and save it again"
            )
        if not first.startswith(b"PK\x03\x04") or self._size < _END.size:
            raise ValueError("it is not a file of torch.save, or it is truncated")
        n, n_bytes, start = self._find_directory()
        if n > _MOST_ENTRIES or n_bytes > n * 1_000:
            raise ValueError(f"it has {n} entries described in {n_bytes} bytes")
        found = list(_directory_entries(self._read(start, n_bytes), n))
        folder = found[0].name.split(b"/")[0] + b"/" if found else b""
        entries: dict[str, _Entry] = {}
        for entry in found:
            name = entry.name.removeprefix(folder).decode("ascii", "backslashreplace")
            if not (entry.name.startswith(folder) and _is_of_torch(name)) or name in entries:
                raise ValueError(
                    f"it has an entry {short(entry.name)}, which torch.save does not write"
                )
            entries[name] = entry
        if sum(entry.size for entry in found) > self._size:
            raise ValueError("its entries are larger than the file")
        return entries

    def _find_directory(self) -> tuple[int, int, int]:
        """The number of entries, and the size and offset of the directory."""
        place = self._size - _END.size
        signature, _, _, _, n, n_bytes, start, comment = _END.unpack(self._read(place, _END.size))
        if signature != b"PK\x05\x06" or comment:
            raise ValueError("it has no directory at its end; it is truncated")
        locator = self._read(max(place - _LOCATOR64.size, 0), _LOCATOR64.size)
        signature, _, place64, _ = _LOCATOR64.unpack(locator)
        if signature == b"PK\x06\x07":
            *found, n, n_bytes, start = _END64.unpack(self._read(place64, _END64.size))
            if found[0] != b"PK\x06\x06":
                raise ValueError("its directory is damaged")
        return n, n_bytes, start


def _directory_entries(directory: bytes, n: int) -> Iterator[_Entry]:
    """Reads the central directory of a zip archive."""
    place = 0
    for _ in range(n):
        if place + _CENTRAL.size > len(directory):
            raise ValueError("its directory is damaged")
        signature, _, flags, method, _, _, crc, packed, size, *lengths, _, _, _, start = (
            _CENTRAL.unpack_from(directory, place)
        )
        n_name, n_extra, n_comment = lengths
        place += _CENTRAL.size
        name, extra = directory[place : place + n_name], directory[place + n_name :][:n_extra]
        place += n_name + n_extra + n_comment
        if signature != b"PK\x01\x02" or place > len(directory):
            raise ValueError("its directory is damaged")
        sizes = iter(_zip64_numbers(extra))
        size, packed, start = (
            next(sizes, _IN_EXTRA) if number == _IN_EXTRA else number
            for number in (size, packed, start)
        )
        if method or packed != size or flags & _ENCRYPTED:
            raise ValueError(f"its entry {short(name)} is compressed, which torch.save never does")
        yield _Entry(name, start, size, crc)


def _zip64_numbers(extra: bytes) -> tuple[int, ...]:
    """The numbers that exceed 32 bits, from the extra field of an entry."""
    while len(extra) >= 4:
        kind, n_bytes = struct.unpack_from("<HH", extra)
        if kind == _ZIP64:
            return tuple(
                number for (number,) in struct.iter_unpack("<Q", extra[4 : 4 + n_bytes // 8 * 8])
            )
        extra = extra[4 + n_bytes :]
    return ()


def _is_of_torch(name: str) -> bool:
    """Whether `torch.save` gives this name to an entry."""
    if name in ("data.pkl", "byteorder", "version", ".format_version", ".storage_alignment"):
        return True
    folder, _, key = name.partition("/")
    return (folder, key) == (".data", "serialization_id") or folder == "data" and key.isdecimal()


def _are_sizes(values: Any) -> bool:
    return type(values) is tuple and all(type(n) is int and n >= 0 for n in values)


class _OrderedDict(dict[Any, Any]):
    """Stand-in for `collections.OrderedDict`, the type of torch's state dicts."""

    def __init__(self) -> None:
        """An empty dict; the pickle fills it afterwards."""

    def set_state(self, _: Any) -> None:
        """Ignores the versions of modules, an attribute of state dicts."""


def _size(values: Any) -> tuple[int, ...]:
    if not _are_sizes(values):
        raise ValueError(f"a size of {short(values)}")
    return values


def _device(kind: Any, index: Any = 0) -> str:
    if type(kind) is not str or type(index) is not int:
        raise ValueError(f"a device of {short(kind)}, {short(index)}")
    return kind


def _parameter(data: Any, *_: Any) -> np.ndarray:
    if not isinstance(data, np.ndarray):
        raise ValueError("a parameter without a tensor")
    return data


TORCH_VALUES: dict[str, Any] = {
    "torch.Size": _size,
    "torch.device": _device,
    **{f"torch.{dtype}": str(dtype) for dtype in _DTYPES.values()},
}
"""Stand-ins for torch's other objects: sizes, devices and dtypes."""
