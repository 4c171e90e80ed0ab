"""Checks whether code was run, and measures time and memory of reading a file."""

import contextlib
import resource
import sys
import time
from collections.abc import Iterator

import pytest

SECONDS = 1.0  # CPU time of this process, so that other load does not count
MOST_MEMORY = 2**20  # KiB: 1 GiB
LONGEST = 2_000

# What hostile files try, by Python's audit events. (Not `exec`: jaxtyping and dataclasses use it to
# make functions.)
_FORBIDDEN = (
    *("pickle.find_class", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork"),
    *("os.remove", "os.rename", "os.putenv", "subprocess.Popen", "socket.connect"),
    *("ctypes.dlopen", "shutil.rmtree", "builtins.input", "code.__new__", "urllib.Request"),
)
_watching = False
_seen: list[str] = []


def _hook(event: str, _: object) -> None:
    if _watching and event in _FORBIDDEN:
        _seen.append(event)


sys.addaudithook(_hook)  # it cannot be removed


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
      *parts: texts that the message must contain.
    """
    with watched(), pytest.raises(ValueError) as error:
        yield
    message = str(error.value)
    assert len(message.splitlines()) == 1 and len(message) < LONGEST, message[:3_000]
    for part in parts:
        assert part in message
