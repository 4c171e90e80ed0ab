"""Compiled cases on disk: found by content, never stale, never harmful."""

import dataclasses
from pathlib import Path

import jax
import numpy as np
import pytest
from tracr.rasp import rasp

from interpbench_jax.cases import Case, case_names, get_case
from interpbench_jax.compiler import cache, compile_case, compiled
from interpbench_jax.compiler.tracr_stages import numbered_program


def only_is_a(letter: str = "a", name: str = "is_a") -> Case:
    def program() -> rasp.SOp:
        return rasp.Map(lambda token: token == letter, rasp.tokens).named(name)

    return Case(name="own", title="", program=program, vocab=("a", "b"), n_ctx=4)


def key(case: Case) -> str:
    return cache.content_key(case, numbered_program(case))


def test_the_key_follows_the_content() -> None:
    assert key(only_is_a()) == key(only_is_a())
    renamed = dataclasses.replace(only_is_a(), name="other", title="other")
    assert key(renamed) == key(only_is_a())
    changed = [
        only_is_a(letter="b"),
        only_is_a(name="same"),
        dataclasses.replace(only_is_a(), causal=True),
        dataclasses.replace(only_is_a(), n_ctx=5),
        dataclasses.replace(only_is_a(), vocab=("a", "c")),
    ]
    assert len({key(case) for case in (only_is_a(), *changed)}) == 6


def test_every_built_in_case_has_a_key_of_its_own() -> None:
    keys = {key(get_case(name)) for name in case_names()}
    assert len(keys) == len(case_names())


def test_what_is_read_back_is_what_was_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTERPBENCH_CACHE", str(tmp_path))
    compiled._compile.cache_clear()
    fresh = compile_case("38")
    compiled._compile.cache_clear()
    monkeypatch.setattr(compiled, "compile_with_tracr", None)  # must not be needed again
    again = compile_case("38")
    for field in ("config", "codec", "variables", "circuit"):
        assert getattr(again, field) == getattr(fresh, field), field
    jax.tree.map(np.testing.assert_array_equal, again.params, fresh.params)


def test_arrays_that_do_not_lie_in_order_are_stored_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTERPBENCH_CACHE", str(tmp_path))
    array = np.arange(6.0).reshape(2, 3).T
    cache.write("k", {"w": array}, {})
    arrays, _ = cache.read("k") or ({}, {})
    np.testing.assert_array_equal(arrays["w"], array)


@pytest.mark.parametrize("content", [b"", b"\x80\x04\x95 a pickle", b"{}"])
def test_a_damaged_entry_counts_as_none(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTERPBENCH_CACHE", str(tmp_path))
    cache.write("k", {"w": np.ones(2)}, {"a": 1})
    arrays, description = cache.read("k") or ({}, {})
    assert description == {"a": 1}
    (file,) = (tmp_path / "compiled").iterdir()
    file.write_bytes(content)
    assert cache.read("k") is None
    assert cache.read("other") is None
