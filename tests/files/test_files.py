import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from interpbench_jax.files import (
    fingerprint,
    from_json,
    inside,
    locked,
    read_bytes,
    read_json,
    replacing,
    set_aside,
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


def test_a_failed_write_leaves_only_the_old_file(tmp_path: Path) -> None:
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


def test_files_have_the_permissions_of_the_process(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        with replacing(tmp_path / "mine.txt") as partial:
            partial.write_text("new")
        assert (tmp_path / "mine.txt").stat().st_mode & 0o777 == 0o600
        assert os.umask(0o077) == 0o077  # unchanged
    finally:
        os.umask(before)


def test_a_lock_has_one_holder_and_leaves_nothing(tmp_path: Path) -> None:
    file = tmp_path / ".lock"
    with locked(file, what=tmp_path):
        message = f"{tmp_path} is in use by process {os.getpid()} on .* since 20"
        with pytest.raises(ValueError, match=message), locked(file, what=tmp_path):
            pass
        assert file.exists()
    assert not file.exists()


def test_a_killed_holder_releases_the_lock(tmp_path: Path) -> None:
    file = tmp_path / ".lock"
    program = (
        "import os, sys, pathlib; from interpbench_jax.files import locked\n"
        "with locked(pathlib.Path(sys.argv[1]), what='x'): os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", program, str(file)]).returncode == -9
    assert file.exists()
    with locked(file, what=tmp_path):
        pass


def test_a_lock_in_a_directory_that_does_not_exist(tmp_path: Path) -> None:
    file = tmp_path / "missing" / ".lock"
    with pytest.raises(ValueError, match=f"cannot write to {file.parent}"), locked(file, what=file):
        pass


@pytest.mark.parametrize("name", ["", ".", "..", "../a", "/a", "a/b", ".a", "a/", "a\0"])
def test_names_cannot_leave_the_directory(tmp_path: Path, name: str) -> None:
    assert inside(tmp_path, "a.b-c") == tmp_path / "a.b-c"
    with pytest.raises(ValueError, match="cannot name a directory"):
        inside(tmp_path, name)


def test_older_directories_are_numbered(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / "3").mkdir()
        (tmp_path / "3" / "a").write_text(str(number))
        assert set_aside(tmp_path / "3") == tmp_path / "older" / f"3-{number}"
    assert (tmp_path / "older" / "3-1" / "a").read_text() == "1"
    assert not (tmp_path / "3").exists()


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
def test_files_that_are_not_json_are_refused_by_name(tmp_path: Path, text: str) -> None:
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


def test_fingerprints_distinguish_types_and_ignore_order() -> None:
    different = [1, 1.0, True, "1", b"1", None, [1], [[1]], {"a": 1}, Setting(1.0), [], {}]
    assert len({fingerprint(value=value) for value in different}) == len(different)
    assert fingerprint(a=1, b=(2, 3)) == fingerprint(b=[2, 3], a=1)
    assert fingerprint(a=["b", "c"]) != fingerprint(a=["bc"])
    assert fingerprint(a=Setting(1.0)) != fingerprint(a=Setting(2.0))
    with pytest.raises(TypeError, match="no fingerprint of a object"):
        fingerprint(a=object())


def test_a_fingerprint_stays_the_same() -> None:
    """Stored results are found by it."""
    assert fingerprint(case="3", n=[1, 2.5, None, True]) == "9e037e5d1daa4a8c16d6d7ff37f154d0"


def test_code_has_a_fingerprint() -> None:
    assert source_fingerprint("files") == source_fingerprint("files")
    assert source_fingerprint("files") != source_fingerprint("files/bounded.py")
    with pytest.raises(ValueError, match="no code in .*nowhere"):
        source_fingerprint("nowhere")
