import json
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from interpbench_jax.files import (
    fingerprint,
    from_json,
    read_bytes,
    read_json,
    replacing,
    source_fingerprint,
    to_json,
    write_json,
)


@dataclass(frozen=True)
class Setting:
    rate: float


def test_a_large_limit_takes_no_memory(tmp_path: Path) -> None:
    (tmp_path / "small").write_bytes(b"abc")
    assert read_bytes(tmp_path / "small", limit=2**60) == b"abc"


def test_a_block_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("old")
    with pytest.raises(RuntimeError), replacing(file) as partial:
        partial.write_text("new")
        raise RuntimeError
    assert file.read_text() == "old"
    assert [f.name for f in tmp_path.iterdir()] == ["a.txt"]
    with replacing(file) as partial:
        partial.write_text("new")
        assert file.read_text() == "old"
    assert file.read_text() == "new"
    assert [f.name for f in tmp_path.iterdir()] == ["a.txt"]


def test_only_regular_files_within_the_limit_are_read(tmp_path: Path) -> None:
    file, pipe, loop = tmp_path / "a", tmp_path / "pipe", tmp_path / "loop"
    file.write_bytes(b"12345")
    os.mkfifo(pipe)
    loop.symlink_to(loop)
    (tmp_path / "zero").symlink_to("/dev/zero")
    assert read_bytes(file, limit=5) == b"12345"
    with pytest.raises(ValueError, match="a has 5 bytes, expected at most 4"):
        read_bytes(file, limit=4)
    for other in (pipe, tmp_path / "zero", tmp_path, loop):
        with pytest.raises(ValueError, match=other.name):
            read_bytes(other, limit=5)
    with pytest.raises(FileNotFoundError):
        read_bytes(tmp_path / "missing", limit=5)


@pytest.mark.parametrize(
    "text", ["", "[NaN]", '{"a": -Infinity}', "[-1e999]", "[" * 100_000, "1" * 5_000]
)
def test_what_is_not_json_is_refused_by_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(ValueError, match="bad.json cannot be read"):
        read_json(tmp_path / "bad.json")


def test_bytes_are_utf_8() -> None:
    assert from_json('["ü"]'.encode(), source="here") == ["ü"]
    for other in ('["ü"]'.encode("latin-1"), "[1]".encode("utf-16")):
        with pytest.raises(ValueError, match="here cannot be read"):
            from_json(other, source="here")


def test_numbers_that_are_not_finite_are_written_as_null(tmp_path: Path) -> None:
    value = {"a": [1.0, float("nan"), (float("inf"),)], "b": None}
    assert json.loads(to_json(value)) == {"a": [1.0, None, [None]], "b": None}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == {"a": [1.0, None, [None]], "b": None}


def test_fingerprints_tell_types_apart_and_ignore_order() -> None:
    different = [1, 1.0, True, "1", b"1", None, [1], [[1]], {"a": 1}, Setting(1.0), [], {}]
    assert len({fingerprint(value=value) for value in different}) == len(different)
    assert fingerprint(a=1, b=(2, 3)) == fingerprint(b=[2, 3], a=1)
    assert fingerprint(a=["b", "c"]) != fingerprint(a=["bc"])
    assert fingerprint(a=Setting(1.0)) != fingerprint(a=Setting(2.0))
    with pytest.raises(TypeError, match="no fingerprint of a object"):
        fingerprint(a=object())


def test_a_fingerprint_stays_the_same() -> None:
    """Stored results are found again by it."""
    assert fingerprint(case="3", n=[1, 2.5, None, True]) == "9e037e5d1daa4a8c16d6d7ff37f154d0"


def test_code_has_a_fingerprint() -> None:
    assert source_fingerprint("files") == source_fingerprint("files")
    assert source_fingerprint("files") != source_fingerprint("files/bounded.py")
    with pytest.raises(ValueError, match="no code in .*nowhere"):
        source_fingerprint("nowhere")
