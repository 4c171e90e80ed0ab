"""Sees whether anything was run, and what reading a file took."""

import contextlib
import resource
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

SECONDS = 1.0  # of this process, so that other load does not count
MOST_MEMORY = 2**20  # KiB: 1 GiB
LONGEST = 2_000

_FORBIDDEN = (
    *("pickle.find_class", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork"),
    *("os.remove", "os.rename", "os.putenv", "subprocess.Popen", "socket.connect", "exec"),
    *("ctypes.dlopen", "shutil.rmtree", "builtins.input", "code.__new__", "urllib.Request"),
)
_watching = False
_seen: list[str] = []


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _watching and event in _FORBIDDEN and not _is_import(event, arguments):
        _seen.append(event)


def _is_import(event: str, arguments: tuple[Any, ...]) -> bool:
    """Whether the standard library imports a module of its own, such as a codec."""
    return event == "exec" and arguments[0].co_filename.startswith((sys.base_prefix, "<frozen"))


sys.addaudithook(_hook)  # it stays for good


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """Fails if the block runs code, or takes over a second of CPU time or 1 GiB more memory."""
    global _watching
    _seen.clear()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.process_time()
    _watching = True
    try:
        yield
    finally:
        _watching = False
        took = time.process_time() - started
        grew = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert not _seen, f"code was run: {_seen}"
    assert took < SECONDS, f"took {took:.2f} s"
    assert grew < MOST_MEMORY, f"took {grew} KiB"


@contextlib.contextmanager
def refused(*parts: str) -> Iterator[None]:
    """Fails unless the block raises one clear error, and as `watched`.

    Args:
      *parts: what the message holds.
    """
    with watched(), pytest.raises(ValueError) as error:
        yield
    message = str(error.value)
    assert len(message.splitlines()) == 1 and len(message) < LONGEST, message[:3_000]
    for part in parts:
        assert part in message
