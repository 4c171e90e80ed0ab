"""Seconds of calls, for the other scripts."""

import time
from collections.abc import Callable
from typing import Any

import jax


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of one call, and its result."""
    start = time.perf_counter()
    result = jax.block_until_ready(work())
    return time.perf_counter() - start, result


def seconds_of_calls(work: Callable[[], Any], calls: int) -> list[float]:
    """Seconds of each of some calls, after one that compiles."""
    timed(work)
    return [timed(work)[0] for _ in range(calls)]
