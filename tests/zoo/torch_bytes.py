"""Pickles and files of `torch.save`, built byte by byte without torch."""

import io
import struct
import zipfile
from collections.abc import Mapping

# Opcodes of a pickle; each function returns bytes that leave one value on the stack.


def program(*parts: bytes, protocol: int = 2) -> bytes:
    """A whole pickle."""
    return b"\x80" + bytes([protocol]) + b"".join(parts) + b"."


def name(module: str, attribute: str) -> bytes:
    return b"c" + module.encode() + b"\n" + attribute.encode() + b"\n"


def text(value: str) -> bytes:
    content = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(content)) + content


def number(value: int) -> bytes:
    content = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(content)]) + content


def several(*parts: bytes) -> bytes:
    """A tuple."""
    return b"(" + b"".join(parts) + b"t"


def call(function: bytes, *arguments: bytes) -> bytes:
    return function + several(*arguments) + b"R"


def record(**entries: bytes) -> bytes:
    """A dict."""
    return b"}(" + b"".join(text(key) + value for key, value in entries.items()) + b"u"


def storage(key: str, n: int, kind: str = "FloatStorage") -> bytes:
    reference = several(text("storage"), name("torch", kind), text(key), text("cpu"), number(n))
    return reference + b"Q"


def tensor(
    memory: bytes, shape: tuple[int, ...], strides: tuple[int, ...], offset: int = 0
) -> bytes:
    sizes = several(*map(number, shape)), several(*map(number, strides))
    hooks = call(name("collections", "OrderedDict"))
    rebuild = name("torch._utils", "_rebuild_tensor_v2")
    return call(rebuild, memory, number(offset), *sizes, b"\x89", hooks)


def archive(
    pickled: bytes,
    storages: Mapping[str, bytes] | None = None,
    *,
    extra: Mapping[str, bytes] | None = None,
    compression: int = zipfile.ZIP_STORED,
) -> bytes:
    """A file of `torch.save`; `extra` replaces and adds entries."""
    entries = {
        "data.pkl": pickled,
        "byteorder": b"little",
        **{f"data/{key}": content for key, content in (storages or {}).items()},
        "version": b"3\n",
        **(extra or {}),
    }
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as file:
        for entry, content in entries.items():
            file.writestr(entry if entry.startswith("/") else f"archive/{entry}", content)
    return stream.getvalue()
