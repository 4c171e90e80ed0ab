"""Atomic writing: a reader sees the old file or the new one, never a part."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path


def umask() -> int:
    """The permissions that this process does not give to new files."""
    mask = os.umask(0o077)  # it can only be read by setting it
    os.umask(mask)
    return mask


@contextlib.contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """A temporary file next to `file`, renamed to it if the block succeeds, removed if it fails.

    The temporary name starts with a dot and the process id. The content is flushed to disk before
    the rename, so a crash of the machine leaves no empty file.

    Args:
      file: the file to write; its directory must exist.

    Yields:
      The temporary path to write to, with the same suffix.

    Raises:
      OSError: the directory cannot be written to.
    """
    handle, name = tempfile.mkstemp(prefix=f".{os.getpid()}.", suffix=file.suffix, dir=file.parent)
    os.close(handle)
    partial = Path(name)
    try:
        yield partial
        partial.chmod(0o666 & ~umask())
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)
