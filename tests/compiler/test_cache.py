"""Compiled cases on disk: found by content; damaged or stale entries are not used."""

import dataclasses
import errno
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from tracr.rasp import rasp

from interpbench_jax.cases import Case, Mixture, case_names, get_case, samplers
from interpbench_jax.compiler import cache, case_fingerprint, compile_case, compiled


def only_is_a(letter: str = "a", name: str = "is_a") -> Case:
    def program() -> rasp.SOp:
        return rasp.Map(lambda token: token == letter, rasp.tokens).named(name)

    return Case(name="own", title="", program=program, vocab=("a", "b"), n_ctx=4)


def test_the_key_follows_the_content() -> None:
    assert case_fingerprint(only_is_a()) == case_fingerprint(only_is_a())
    renamed = dataclasses.replace(only_is_a(), name="other", title="other")
    assert case_fingerprint(renamed) == case_fingerprint(only_is_a())
    changed = [
        only_is_a(letter="b"),
        only_is_a(name="same"),
        dataclasses.replace(only_is_a(), causal=True),
        dataclasses.replace(only_is_a(), n_ctx=5),
        dataclasses.replace(only_is_a(), vocab=("a", "c")),
        dataclasses.replace(only_is_a(), sampler=Mixture(((0.5, samplers.all_same),))),
        dataclasses.replace(only_is_a(), sampler=Mixture(((0.4, samplers.all_same),))),
        dataclasses.replace(only_is_a(), sampler=Mixture(((0.5, samplers.ascending),))),
    ]
    assert len({case_fingerprint(case) for case in (only_is_a(), *changed)}) == 9


def test_every_built_in_case_has_its_own_key() -> None:
    keys = {case_fingerprint(get_case(name)) for name in case_names()}
    assert len(keys) == len(case_names())


def test_what_is_read_back_is_what_was_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTERPBENCH_CACHE", str(tmp_path))
    compiled._compile.cache_clear()
    fresh = compile_case("38")
    compiled._compile.cache_clear()
    monkeypatch.setattr(compiled, "compile_with_tracr", None)  # must not be called again
    again = compile_case("38")
    for field in ("config", "codec", "variables", "circuit"):
        assert getattr(again, field) == getattr(fresh, field), field
    jax.tree.map(np.testing.assert_array_equal, again.params, fresh.params)


def test_arrays_that_are_not_contiguous_are_stored_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTERPBENCH_CACHE", str(tmp_path))
    array = np.arange(6.0).reshape(2, 3).T
    cache.write("k", {"w": array}, {})
    arrays, _ = cache.read("k") or ({}, {})
    np.testing.assert_array_equal(arrays["w"], array)


@pytest.fixture
def entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a valid entry with the key `k`."""
    monkeypatch.setenv("INTERPBENCH_CACHE", str(tmp_path))
    cache.write("k", {"w": np.ones(2)}, {"a": 1})
    arrays, description = cache.read("k") or ({}, {})
    assert arrays["w"].tolist() == [1, 1] and description == {"a": 1}
    (file,) = (tmp_path / "compiled").iterdir()
    return file


@pytest.mark.parametrize("content", [b"", b"\x80\x04\x95 a pickle", b"{}"])
def test_a_damaged_entry_counts_as_missing(content: bytes, entry: Path) -> None:
    entry.write_bytes(content)
    assert cache.read("k") is None
    assert cache.read("other") is None


def test_an_entry_with_a_flipped_bit_counts_as_missing(entry: Path) -> None:
    whole = entry.read_bytes()
    for place in range(len(whole)):
        entry.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        assert cache.read("k") is None, place
    for cut in range(len(whole)):
        entry.write_bytes(whole[:cut])
        assert cache.read("k") is None, cut


def test_an_entry_under_the_name_of_another_counts_as_missing(entry: Path) -> None:
    cache.write("other", {}, {})
    (other,) = set(entry.parent.iterdir()) - {entry}
    shutil.copy(entry, other)
    assert cache.read("other") is None


def test_an_entry_that_is_not_a_file_counts_as_missing(entry: Path) -> None:
    entry.unlink()
    entry.mkdir()
    assert cache.read("k") is None
    cache.write("k", {"w": np.ones(2)}, {})
    assert cache.read("k") is None


def test_a_full_disk_leaves_nothing_behind(entry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fills_up(path: Path, content: bytes) -> None:
        with path.open("wb") as file:
            file.write(content[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fills_up)
    cache.write("other", {"w": np.ones(2)}, {})
    assert cache.read("other") is None
    assert list(entry.parent.iterdir()) == [entry]


def test_a_case_with_a_damaged_entry_is_compiled_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTERPBENCH_CACHE", str(tmp_path))
    case = only_is_a()
    fresh = compile_case(case)
    (file,) = (tmp_path / "compiled").iterdir()
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    compiled._compile.cache_clear()
    again = compile_case(case)
    jax.tree.map(np.testing.assert_array_equal, again.params, fresh.params)
    assert file.read_bytes() == content


def odd_values() -> rasp.SOp:
    values = (np.int64(3), np.float32(0.5), np.inf, True, "None", "True", -7)
    return rasp.Map(lambda token: values[token], rasp.tokens)


def test_outputs_are_read_back_with_their_types(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTERPBENCH_CACHE", str(tmp_path))
    case = Case(name="odd", title="", program=odd_values, vocab=tuple(range(7)), n_ctx=3)
    fresh = compile_case(case).codec.outputs or ()
    compiled._compile.cache_clear()
    monkeypatch.setattr(compiled, "compile_with_tracr", None)  # must not be called again
    again = compile_case(case).codec.outputs or ()
    assert again == fresh and len(again) == 7
    assert [type(value) for value in again] == [type(value) for value in fresh]
