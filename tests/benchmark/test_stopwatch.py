"""What a first call takes longer than a second one is compilation."""

from typing import Any

import jax
import jax.numpy as jnp
import pytest

from interpbench_jax.benchmark.stopwatch import _COMPILING, _covered, stopwatch


def test_only_the_first_call_compiles() -> None:
    inner = jax.jit(lambda x: jnp.sin(x @ x))
    outer = jax.jit(lambda x: inner(jnp.cos(inner(x))).sum())
    x = jax.block_until_ready(jnp.ones((50, 50)))
    with stopwatch() as first:
        jax.block_until_ready(outer(x))
    with stopwatch() as second:
        jax.block_until_ready(outer(x))
    assert 0 < first.compiling <= first.total
    assert second.compiling == 0 < second.total


def test_every_part_of_compiling_counts() -> None:
    seen = set()

    def listen(event: str, duration_secs: float, **_: Any) -> None:
        seen.add(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    jax.jit(lambda x: x + 1)(jnp.ones(3))
    jax.monitoring.unregister_event_duration_listener(listen)
    assert set(_COMPILING) <= seen  # JAX has not renamed them
    for event, counts in (*((event, True) for event in _COMPILING), ("/another", False)):
        with stopwatch() as taken:
            jax.monitoring.record_event_duration_secs(event, 1e-9)
        assert (taken.compiling > 0) == counts


def test_nested_spans_count_once() -> None:
    assert _covered([]) == 0
    assert _covered([(1.0, 2.0), (0.0, 3.0), (5.0, 6.0), (5.5, 7.0)]) == pytest.approx(5)
