"""What a first call takes longer than a second one is compilation."""

import jax
import jax.numpy as jnp
import pytest

from interpbench_jax.benchmark.stopwatch import _covered, stopwatch


def test_only_the_first_call_compiles() -> None:
    inner = jax.jit(lambda x: jnp.sin(x @ x))
    outer = jax.jit(lambda x: inner(jnp.cos(inner(x))).sum())
    x = jax.block_until_ready(jnp.ones((50, 50)))
    with stopwatch() as first:
        jax.block_until_ready(outer(x))
    with stopwatch() as second:
        jax.block_until_ready(outer(x))
    assert second.compiling == 0 < second.total
    # What is left of the first call is run time, a small part of it.
    assert first.total / 2 < first.compiling <= first.total


def test_nested_spans_count_once() -> None:
    assert _covered([]) == 0
    assert _covered([(1.0, 2.0), (0.0, 3.0), (5.0, 6.0), (5.5, 7.0)]) == pytest.approx(5)
