"""Malicious files are refused quickly, and no code in them runs."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interpbench_jax.zoo.hooked_config import read_hooked_config
from interpbench_jax.zoo.plain_pickle import read_pickle
from interpbench_jax.zoo.published_edges import read_published_edges
from interpbench_jax.zoo.torch_files import read_torch
from tests.zoo.fuzz_readers import READERS as READERS_TO_FUZZ
from tests.zoo.fuzz_readers import fuzz
from tests.zoo.hostile_files import odd_pickles, pickles, torch_files
from tests.zoo.torch_bytes import archive, program, record, storage, tensor
from tests.zoo.watching import MOST_MEMORY, refused, watched

PICKLES, TORCH_FILES = pickles(), torch_files()
pytestmark = pytest.mark.usefixtures("no_shape_checks")

READERS: dict[str, Callable[[bytes], Any]] = {
    "plain": lambda content: read_pickle(content, {}),
    "config": read_hooked_config,
    "edges": read_published_edges,
}


def good_file() -> bytes:
    memory = np.arange(6, dtype="<f4").tobytes()
    return archive(program(record(a=tensor(storage("0", 6), (2, 3), (1, 2)))), {"0": memory})


def test_what_the_watch_sees() -> None:
    with pytest.raises(AssertionError, match="code was run"), watched():
        os.system("true")
    for _ in range(2):  # also where the process was as large before
        with pytest.raises(AssertionError, match="MiB"), watched():
            np.ones(MOST_MEMORY + 2**24, np.uint8)


def test_files_built_by_hand_are_read(tmp_path: Path) -> None:
    (tmp_path / "file.pth").write_bytes(good_file())
    expected = np.arange(6, dtype=np.float32).reshape(3, 2).T
    np.testing.assert_array_equal(read_torch(tmp_path / "file.pth")["a"], expected)


@pytest.mark.parametrize("what", TORCH_FILES)
def test_torch_files(tmp_path: Path, what: str) -> None:
    file = tmp_path / "file.pth"
    file.write_bytes(TORCH_FILES[what])
    with refused(str(file)):
        read_torch(file)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("what", PICKLES)
def test_pickles(what: str, reader: str) -> None:
    with refused():
        READERS[reader](PICKLES[what])


MEANT: dict[str, object] = {
    "memo of a billion": 1,
    "a frame of 8 EiB": None,
    "bytes by the thousand": ["a" * 900] + [b"a" * 900] * 9_000,
}


@pytest.mark.parametrize("what", odd_pickles())
def test_pickles_that_are_odd_but_do_no_harm(what: str) -> None:
    with watched():
        found = read_pickle(odd_pickles()[what], {})
    assert found == MEANT[what]


def test_unsafe_names_are_in_the_message() -> None:
    for what in ("os.system", "eval", "getattr"):
        with pytest.raises(ValueError, match="refused: the pickle names '.*(system|eval|getattr)'"):
            read_pickle(PICKLES[what], {})


def test_truncated_at_every_place(tmp_path: Path) -> None:
    file, content = tmp_path / "file.pth", good_file()
    for end in range(len(content)):
        file.write_bytes(content[:end])
        with refused(str(file)):
            read_torch(file)


def test_flipped_bits(tmp_path: Path) -> None:
    """A file with one changed bit is refused or read with the same result: some bits are unused."""
    file, content = tmp_path / "file.pth", good_file()
    expected = np.arange(6, dtype=np.float32).reshape(3, 2).T
    n_read = 0
    for place in range(0, 8 * len(content), 11):
        flipped = bytearray(content)
        flipped[place // 8] ^= 1 << place % 8
        file.write_bytes(flipped)
        with watched():
            try:
                found = read_torch(file)
            except ValueError as error:
                assert str(file) in str(error)
                continue
        n_read += 1
        np.testing.assert_array_equal(found["a"], expected)
    assert n_read < 0.5 * len(content) * 8 / 11


def test_sparse_files_are_not_read(tmp_path: Path) -> None:
    with (tmp_path / "file.pth").open("wb") as stream:
        stream.truncate(2**40)
    with refused("1099511627776 bytes"):
        read_torch(tmp_path / "file.pth")
    with (tmp_path / "file.pth").open("wb") as stream:
        stream.truncate(2**32)
    with refused("not a file of torch.save"):
        read_torch(tmp_path / "file.pth")


@pytest.mark.slow
@pytest.mark.parametrize("reader", READERS_TO_FUZZ)
def test_a_moment_of_fuzzing(reader: str) -> None:
    """For ten minutes of each there is a command; see the notes on models on disk."""
    assert fuzz(reader, seconds=2) > 0
