"""Stored values keep their type and value."""

import json

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies

from interpbench_jax.compiler.stored_values import from_stored, to_stored

plain = strategies.none() | strategies.booleans() | strategies.integers() | strategies.text()
numbers = strategies.floats(allow_nan=False)
scalars = (
    strategies.builds(np.float64, numbers)
    | strategies.builds(np.bool_)
    | (strategies.integers(-(2**31), 2**31 - 1).map(np.int32))
)
values = strategies.recursive(
    plain | numbers | scalars, lambda inner: strategies.lists(inner, max_size=3).map(tuple)
)


@hypothesis.given(values)
def test_a_value_is_read_back_unchanged(value) -> None:
    again = from_stored(json.loads(json.dumps(to_stored(value), allow_nan=False)))
    assert type(again) is type(value) and again == value
    assert repr(again) == repr(value)  # with the types in a tuple, and the sign of 0


@pytest.mark.parametrize("value", [{1, 2}, [1], object(), 1j, b"a"])
def test_other_values_are_not_stored(value) -> None:
    with pytest.raises(ValueError, match="cannot be stored"):
        to_stored(value)


@pytest.mark.parametrize("stored", [[1], {}, {"tuple": 1}, {"python": "1"}, 0.5])
def test_other_values_are_not_read(stored) -> None:
    with pytest.raises(ValueError, match="not a stored value"):
        from_stored(stored)
