"""The catalogue agrees with the compiled cases."""

import pytest

from interpbench_jax.alignment.make_catalogue import derive_entry
from interpbench_jax.cases import case_names
from interpbench_jax.cases.catalogue import read_catalogue


def test_it_has_every_case() -> None:
    assert tuple(read_catalogue()) == case_names()


@pytest.mark.parametrize("name", ["3", "13", "33"])
def test_entries_are_right(name: str) -> None:
    assert read_catalogue()[name] == derive_entry(name)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:case '113'. expression")
@pytest.mark.parametrize("name", case_names())
def test_all_entries_are_right(name: str) -> None:
    assert read_catalogue()[name] == derive_entry(name)
