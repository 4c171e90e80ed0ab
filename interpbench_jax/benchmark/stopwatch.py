"""Wall time, with the time that JAX takes to trace, lower and compile measured separately."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax

_COMPILING = (
    "/jax/core/compile/jaxpr_trace_duration",
    "/jax/core/compile/jaxpr_to_mlir_module_duration",
    "/jax/core/compile/backend_compile_duration",
)


@dataclass
class TimeTaken:
    """The time of a block, in seconds; known when the block has ended.

    Attributes:
      total: time of the whole block.
      compiling: the part in which JAX traced, lowered and compiled functions. A second call of the
        same block takes about `total - compiling`.
    """

    total: float = 0.0
    compiling: float = 0.0

    @property
    def running(self) -> float:
        """The time without compilation."""
        return self.total - self.compiling


@contextlib.contextmanager
def stopwatch() -> Iterator[TimeTaken]:
    """Measures the time of a block; the block itself must wait for its results."""
    taken, spans = TimeTaken(), []

    def listen(event: str, duration_secs: float, **_: Any) -> None:
        if event in _COMPILING:
            now = time.perf_counter()
            spans.append((now - duration_secs, now))

    jax.monitoring.register_event_duration_secs_listener(listen)
    start = time.perf_counter()
    try:
        yield taken
    finally:
        taken.total = time.perf_counter() - start
        taken.compiling = min(_covered(spans), taken.total)
        jax.monitoring.unregister_event_duration_listener(listen)


def _covered(spans: Sequence[tuple[float, float]]) -> float:
    """The length of the union of some spans: tracing a function traces those that it calls."""
    covered, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        covered += max(end - max(start, reached), 0.0)
        reached = max(reached, end)
    return covered
