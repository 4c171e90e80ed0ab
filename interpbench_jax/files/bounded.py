"""Reading of untrusted files: only regular files, up to a size limit."""

import contextlib
import os
import stat
from collections.abc import Iterator
from io import FileIO
from pathlib import Path

MEBIBYTE = 2**20


@contextlib.contextmanager
def opened(file: Path, *, limit: int) -> Iterator[tuple[FileIO, int]]:
    """Opens a regular file of at most `limit` bytes for reading.

    Pipes, devices and directories, and links to them, are rejected without being read.

    Args:
      file: the file.
      limit: the largest allowed size, in bytes.

    Yields:
      The unbuffered file, and its size in bytes.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it is not a regular file, is too large, or cannot be read; the message names the
        file.
    """
    try:
        # Without O_NONBLOCK, opening a pipe waits for a writer.
        handle = os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror}") from error
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise ValueError(f"{file} is not a regular file")
        if found.st_size > limit:
            raise ValueError(f"{file} has {found.st_size} bytes, expected at most {limit}")
        with os.fdopen(handle, "rb", buffering=0, closefd=False) as stream:
            yield stream, found.st_size
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror}") from error
    finally:
        os.close(handle)


def read_bytes(file: Path, *, limit: int) -> bytes:
    """The content of a regular file of at most `limit` bytes.

    Args:
      file: the file.
      limit: the largest allowed size, in bytes.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: as `opened`; the message names the file.
    """
    with opened(file, limit=limit) as (stream, _):
        # In pieces, as a single call would allocate memory for the limit, not for the file.
        pieces, left = [], limit + 1
        while piece := stream.read(min(left, MEBIBYTE)):
            pieces.append(piece)
            left -= len(piece)
    content = b"".join(pieces)
    if len(content) > limit:  # it grew, or its size was unknown
        raise ValueError(f"{file} has more than {limit} bytes")
    return content


def read_text(file: Path, *, limit: int = MEBIBYTE) -> str:
    """The content of a regular UTF-8 file of at most `limit` bytes, decoded.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: as `read_bytes`, or it is not UTF-8.
    """
    try:
        return read_bytes(file, limit=limit).decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not UTF-8 text: {error}") from error
