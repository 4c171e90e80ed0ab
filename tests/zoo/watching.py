"""Checks whether code was run, and measures time and memory of reading a file."""

import contextlib
import re
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

SECONDS = 1.0  # CPU time of this process, so that other load does not count
MOST_MEMORY = 2**30  # bytes: 1 GiB
LONGEST = 2_000

# What hostile files try, by Python's audit events. (Not `exec`: jaxtyping and dataclasses use it to
# make functions.)
_FORBIDDEN = (
    *("pickle.find_class", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork"),
    *("os.remove", "os.rename", "os.putenv", "subprocess.Popen", "socket.connect"),
    *("ctypes.dlopen", "shutil.rmtree", "builtins.input", "code.__new__", "urllib.Request"),
)
_STATUS = Path("/proc/self/status")  # on Linux
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
    before = _start_peak()
    started = time.process_time()
    _watching = True
    try:
        yield
    finally:
        _watching = False
        took = time.process_time() - started
        grew = _peak() - before
    assert not _seen, f"code was run: {_seen}"
    assert grew < MOST_MEMORY, f"took {grew / 2**20:.0f} MiB"
    assert took < SECONDS, f"took {took:.2f} s"


def _start_peak() -> int:
    """Makes the peak that of now where the system allows it, and returns it, in bytes."""
    with contextlib.suppress(OSError):
        (_STATUS.parent / "clear_refs").write_text("5")
    return _peak()


def _peak() -> int:
    """The largest memory of this process since `_start_peak`, or elsewhere since it started."""
    if _STATUS.exists():
        found = re.search(r"VmHWM:\s*(\d+) kB", _STATUS.read_text())
        assert found is not None
        return 1024 * int(found[1])
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


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
