"""Locks between processes, which the system releases however the holder ends."""

import contextlib
import datetime
import os
import platform
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows has no such locks; nothing is locked there
    fcntl = None  # type: ignore[assignment]


@contextlib.contextmanager
def locked(file: Path, *, what: Path) -> Iterator[None]:
    """Holds a lock, and keeps its file, while the block runs.

    The file names the holder of the lock. It may remain when a process is killed; the lock does
    not.

    Args:
      file: the lock's file; its directory must exist.
      what: the path that the lock protects, for the message.

    Raises:
      ValueError: another process holds the lock (the message names the process, its host and its
        start time), or the file cannot be written.
    """
    handle = _acquire(file, what)
    try:
        yield
    finally:
        file.unlink(missing_ok=True)  # still locked, so it cannot be another process's file
        os.close(handle)


def _acquire(file: Path, what: Path) -> int:
    while True:
        try:
            handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise ValueError(f"cannot write to {file.parent}: {error.strerror}") from error
        try:
            if fcntl is not None:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The last holder may have removed the file after it was opened here.
            if _is(file, handle):
                os.ftruncate(handle, 0)
                os.write(handle, _own_name().encode())
                return handle
        except BlockingIOError:
            holder = os.read(handle, 1_000).decode(errors="replace") or "another process"
            os.close(handle)
            raise ValueError(
                f"{what} is in use by {holder}; wait until it ends, or write elsewhere"
            ) from None
        except OSError as error:
            os.close(handle)
            raise ValueError(f"cannot lock {file}: {error.strerror}") from error
        os.close(handle)


def _is(file: Path, handle: int) -> bool:
    """Whether an open file is the file at its path."""
    try:
        return os.path.samestat(file.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False


def _own_name() -> str:
    now = datetime.datetime.now().astimezone().isoformat(" ", "seconds")
    return f"process {os.getpid()} on {platform.node()} since {now}"
