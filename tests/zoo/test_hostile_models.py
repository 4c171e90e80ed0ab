"""Directories made to hang, to fill the memory or to look like a model are refused quickly."""

import json
import os
import shutil
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from interpbench_jax.zoo import load_model, save_model
from tests.models import untrained_model

SECONDS = 1.0  # CPU time of this process, so that other load does not count
WEIGHTS = "model.safetensors"
JSON_FILES = ("config.json", "circuit.json", "card.json", "checksums.json")
HUGE = 10**30
DEEP = "[" * 100_000 + "]" * 100_000


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("saved") / "model"
    save_model(untrained_model(), directory)
    return directory


@pytest.fixture
def stored(saved: Path, tmp_path: Path, no_shape_checks) -> Path:
    """A model of an earlier version without checksums, so that the reader itself is tested."""
    shutil.copytree(saved, tmp_path / "model")
    (tmp_path / "model" / "checksums.json").unlink()
    return tmp_path / "model"


def refused(directory: Path, file: str) -> str:
    """The message that refuses a directory: one line that names the file, in time."""
    started = time.process_time()
    with pytest.raises(ValueError) as error:
        load_model(directory)
    assert time.process_time() - started < SECONDS
    message = str(error.value)
    assert str(directory / file) in message
    assert len(message.splitlines()) == 1 and len(message) < 2_000
    return message


def changed(file: Path, *path: str | int, to: Any) -> None:
    """Replaces one entry of a JSON file."""
    data = json.loads(file.read_text())
    entry = data
    for key in path[:-1]:
        entry = entry[key]
    entry[path[-1]] = to
    file.write_text(json.dumps(data))


def pipe(file: Path) -> None:
    os.mkfifo(file)


def endless(file: Path) -> None:
    file.symlink_to("/dev/zero")


def folder(file: Path) -> None:
    file.mkdir()


def loop(file: Path) -> None:
    file.symlink_to(file)


def sparse(file: Path) -> None:
    with file.open("wb") as stream:
        stream.truncate(2**40)


@pytest.mark.parametrize("file", [WEIGHTS, *JSON_FILES])
@pytest.mark.parametrize("make", [pipe, endless, folder, loop, sparse])
def test_paths_that_are_not_files(stored: Path, file: str, make: Callable[[Path], None]) -> None:
    (stored / file).unlink(missing_ok=True)
    make(stored / file)
    refused(stored, file)


@pytest.mark.parametrize("file", [WEIGHTS, *JSON_FILES])
@pytest.mark.parametrize(
    "content",
    [
        *("", "null", "3", "[]", "{}", '"text"', "[NaN]", "{", DEEP, '{"a":' * 50_000),
        *("1" * 5_000, str(HUGE), "\x00", "\ud800", "[" + "{}," * 1_000_000 + "{}]", " " * 10**7),
    ],
    ids=lambda text: text[:6].encode("ascii", "replace").decode(),
)
def test_json_that_is_not_a_record(stored: Path, file: str, content: str) -> None:
    (stored / file).write_bytes(content.encode("utf-8", "surrogatepass"))
    if (file, content) == ("card.json", "{}"):
        assert load_model(stored).card == {}  # a card may be empty
    else:
        refused(stored, file)


SIZES = "n_layers n_heads d_model d_head d_mlp n_ctx d_vocab d_vocab_out".split()
NO_SIZE: list[Any] = [0, -1, 1.5, True, None, "3", [], {}, HUGE, 10**9, -HUGE]


@pytest.mark.parametrize("field", SIZES)
def test_sizes_of_the_model(stored: Path, field: str) -> None:
    for value in NO_SIZE:
        changed(stored / "config.json", "model", field, to=value)
        assert field in refused(stored, "config.json")


@pytest.mark.parametrize("field", SIZES)
def test_sizes_that_other_files_contradict(stored: Path, field: str) -> None:
    """Large ones are also refused, before anything of that size is allocated."""
    in_graph = field in ("n_layers", "n_heads")
    for value, file in [(7, WEIGHTS), (1_000, WEIGHTS), (2**24, "")]:
        changed(stored / "config.json", "model", field, to=value)
        refused(stored, "circuit.json" if file and in_graph else file)


@pytest.mark.parametrize(
    ("n_layers", "file", "message"),
    [
        (1_000, WEIGHTS, "is missing"),
        (3_000, "config.json", "3000 layers of 4 heads and an MLP are too many"),
        (10**9, "config.json", "n_layers must be at most"),
    ],
)
def test_many_layers_in_both_files(stored: Path, n_layers: int, file: str, message: str) -> None:
    changed(stored / "config.json", "model", "n_layers", to=n_layers)
    changed(stored / "circuit.json", "n_layers", to=n_layers)
    assert message in refused(stored, file)


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("causal", ["3", 1, None, []]),
        ("layer_norm", ["", 0, None]),
        ("pad", ["3", -1, 10**9, True, 0.5]),
        ("activation", ["silu", 3, None, ["gelu"]]),
        ("layer_norm_eps", [0, -1.0, "1", None, True, 1e40, 10**400]),
        ("init_std", [0, [], 10**400]),
        ("hello", [1]),
        ("\x1b[2J" * 10_000, [1]),
    ],
)
def test_other_fields_of_the_model(stored: Path, field: str, values: list[Any]) -> None:
    for value in values:
        changed(stored / "config.json", "model", field, to=value)
        assert field[:3] in refused(stored, "config.json").replace("\\x1b", "\x1b")


@pytest.mark.parametrize(
    ("path", "values"),
    [
        (("case",), [3, None, [], True]),
        (("hello",), [3]),
        (("model",), [3, None, [], "text"]),
        (("variables",), [3, None, {}, "text", [3], [[]], [{}]]),
        (("variables", 0, "values"), [3, None, "text", [3], [None], {}]),
        (("variables", 0, "compiled_node"), [3, None, []]),
        (("variables", 0, "node"), [3, None, [], "a9.h0", "m0->m1"]),
        (("variables", 0, "hello"), [3]),
    ],
)
def test_the_rest_of_the_description(stored: Path, path, values: list[Any]) -> None:
    for value in values:
        changed(stored / "config.json", *path, to=value)
        refused(stored, "config.json")


@pytest.mark.parametrize("field", ["n_layers", "n_heads"])
def test_sizes_of_the_circuit(stored: Path, field: str) -> None:
    for value in (*NO_SIZE, 3, 1_000):
        changed(stored / "circuit.json", field, to=value)
        refused(stored, "circuit.json")


@pytest.mark.parametrize(
    "edges",
    [
        *(3, None, "input->m0", {"input->m0": 1}, [3], [None], [["input", "m0"]]),
        *(["input"], ["->"], ["m1->m0"], ["input->m0->logits"], ["m0->" + "x" * 10**6]),
        pytest.param(["input->m0"] * 290_000 + ["m1->m0"], id="4 MiB"),
    ],
)
def test_edges_of_the_circuit(stored: Path, edges: Any) -> None:
    changed(stored / "circuit.json", "edges", to=edges)
    refused(stored, "circuit.json")


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("title", [3, None, []]),
        ("reached_threshold", ["yes", 1, None]),
        ("metrics", [3, None, [], {"accuracy": "1"}, {"iia": True}, {"siia": []}, {"x": HUGE}]),
        ("config", [3, None, [], {"same_size": "no"}, {"min_length": 0}, {"min_length": "3"}]),
        ("config", [{"min_length": 10**9}, {"min_length": True}, {"min_length": 2.0}]),
    ],
)
def test_entries_of_the_card(stored: Path, field: str, values: list[Any]) -> None:
    for value in values:
        changed(stored / "card.json", field, to=value)
        refused(stored, "card.json")


def test_a_number_that_is_missing_from_the_card_is_no_error(stored: Path) -> None:
    """It was NaN when the card was written."""
    changed(stored / "card.json", "metrics", to={"accuracy": None, "iia": 1, "siia": 0.5})
    assert load_model(stored).card["metrics"]["accuracy"] is None


@pytest.mark.parametrize("kind", [bool, np.int32, np.uint8, np.int64, np.complex64])
def test_weights_that_are_not_floats(stored: Path, kind: type) -> None:
    weights = safetensors.numpy.load_file(stored / WEIGHTS)
    weights["unembed.b_U"] = weights["unembed.b_U"].astype(kind)
    safetensors.numpy.save_file(weights, stored / WEIGHTS)
    assert "'unembed.b_U' has type" in refused(stored, WEIGHTS)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite(stored: Path, value: float) -> None:
    weights = safetensors.numpy.load_file(stored / WEIGHTS)
    weights["blocks.1.mlp.W_in"][2, 3] = value
    safetensors.numpy.save_file(weights, stored / WEIGHTS)
    assert "'blocks.1.mlp.W_in' holds numbers that are not finite" in refused(stored, WEIGHTS)


@pytest.mark.parametrize("kind", [np.float16, jnp.bfloat16, np.float64])
def test_other_floats_become_float32(stored: Path, kind: Any) -> None:
    weights = safetensors.numpy.load_file(stored / WEIGHTS)
    other = {name: weight.astype(kind) for name, weight in weights.items()}
    safetensors.numpy.save_file(other, stored / WEIGHTS)
    params = load_model(stored).params
    assert params["embed"]["W_E"].dtype == np.float32
    expected = other["embed.W_E"].astype(np.float32)
    np.testing.assert_array_equal(params["embed"]["W_E"], expected)


def with_header(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


@pytest.mark.parametrize(
    "content",
    [
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 99_999_999) + b"{}",
        with_header({}),
        with_header(b"[" * 100_000),
        with_header(
            {"embed.W_E": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 0]}}
        ),
        with_header({"embed.W_E": {"dtype": "F32", "shape": [6, 12], "data_offsets": [0, 2**62]}}),
        with_header(
            {"embed.W_E": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, b"1234"
        ),
        with_header(
            {f"w{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(10_000)}
        ),
        with_header({"__metadata__": {"a": "b" * 10**7}}),
        b"\x80\x04\x95 a pickle",
        b"PK\x03\x04 a zip",
    ],
    ids=lambda content: f"{len(content)} bytes",
)
def test_headers_of_weights(stored: Path, content: bytes) -> None:
    (stored / WEIGHTS).write_bytes(content)
    refused(stored, WEIGHTS)


@pytest.mark.parametrize("file", [WEIGHTS, "config.json", "circuit.json"])
def test_truncated_at_many_places(stored: Path, file: str) -> None:
    """A truncated file is neither JSON nor safetensors, with or without checksums."""
    content = (stored / file).read_bytes()
    for end in np.linspace(0, len(content) - 2, 40).astype(int):
        (stored / file).write_bytes(content[:end])
        refused(stored, file)


@pytest.mark.parametrize("file", [WEIGHTS, *JSON_FILES])
def test_flipped_bits(saved: Path, tmp_path: Path, no_shape_checks, file: str) -> None:
    """In a directory with checksums, a change of any bit in any file is detected.

    A flipped bit in the checksums gives a wrong checksum or invalid JSON.
    """
    directory = tmp_path / "model"
    shutil.copytree(saved, directory)
    load_model(directory)
    content = (directory / file).read_bytes()
    places = np.random.default_rng(0).choice(8 * len(content), 40, replace=False)
    for place in places:
        flipped = bytearray(content)
        flipped[place // 8] ^= 1 << place % 8
        (directory / file).write_bytes(flipped)
        message = refused(directory, "" if file == "checksums.json" else file)
        assert "checksum" in message


@pytest.mark.parametrize("name", ["", "\0", "x" * 5_000, "/dev/null", "/dev/zero"])
def test_names_that_are_not_directories(name: str) -> None:
    with pytest.raises(ValueError, match="no model|config.json is missing"):
        load_model(name)


def test_the_directory_may_not_be_a_loop(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(ValueError, match="no model .*loop"):
        load_model(tmp_path / "loop")
