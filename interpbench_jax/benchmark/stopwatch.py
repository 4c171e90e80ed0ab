"""Wall time, with XLA's compilation time measured separately."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax

_COMPILING = "/jax/core/compile/backend_compile_duration"


@dataclass
class TimeTaken:
    """Seconds; final when the block has ended."""

    total: float = 0.0
    compiling: float = 0.0


@contextlib.contextmanager
def stopwatch() -> Iterator[TimeTaken]:
    """Measures the time of a block; the block itself must wait for its results."""
    taken = TimeTaken()

    def listen(event: str, duration_secs: float, **_: Any) -> None:
        if event == _COMPILING:
            taken.compiling += duration_secs

    jax.monitoring.register_event_duration_secs_listener(listen)
    start = time.perf_counter()
    try:
        yield taken
    finally:
        taken.total = time.perf_counter() - start
        jax.monitoring.unregister_event_duration_listener(listen)
