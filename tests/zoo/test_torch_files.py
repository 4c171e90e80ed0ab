"""`read_torch` reads files of torch correctly."""

import itertools
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from interpbench_jax.zoo.torch_files import read_torch
from tests.golden_files import GOLDEN
from tests.peers import peer
from tests.zoo.torch_bytes import archive, program, storage, tensor, text
from tests.zoo.watching import refused

DTYPES = "float16 bfloat16 float32 float64 uint8 int8 int16 int32 int64 bool".split()


def same(ours: Any, theirs: Any) -> None:
    """Compares nested values; tensors bit by bit."""
    torch = peer("torch")
    if isinstance(theirs, torch.Tensor):
        theirs = theirs.detach()
        assert str(theirs.dtype) == f"torch.{ours.dtype}"
        assert tuple(theirs.shape) == ours.shape
        expected = theirs.contiguous().reshape(-1).view(torch.uint8).numpy()
        np.testing.assert_array_equal(
            np.ascontiguousarray(ours).reshape(-1).view(np.uint8), expected
        )
    elif isinstance(theirs, dict):
        assert list(ours) == list(theirs)
        for key in theirs:
            same(ours[key], theirs[key])
    elif isinstance(theirs, list | tuple):
        assert type(ours) is (list if isinstance(theirs, list) else tuple)
        assert len(ours) == len(theirs)
        for our, their in zip(ours, theirs, strict=True):
            same(our, their)
    elif isinstance(theirs, torch.dtype):
        assert f"torch.{ours}" == str(theirs)
    else:
        assert type(ours) is type(theirs) and ours == theirs


VIEWS = {
    "whole": lambda tensor: tensor,
    "transposed": lambda tensor: tensor.T,
    "part": lambda tensor: tensor[1:, ::2],
    "expanded": lambda tensor: tensor[:1].expand(7, -1),
    "number": lambda tensor: tensor[2, 3],
    "empty": lambda tensor: tensor[:0],
    "axes": lambda tensor: tensor.reshape(2, 2, 3, 2).permute(3, 1, 0, 2),
    "diagonal": lambda tensor: tensor.diagonal(),
}


@pytest.mark.parametrize("dtype", DTYPES)
def test_types_strides_and_shared_storages(tmp_path: Path, dtype: str) -> None:
    torch = peer("torch")
    torch.manual_seed(0)
    numbers = (torch.randn(4, 6) * 9).to(getattr(torch, dtype))
    for (one, first), (other, second) in itertools.product(VIEWS.items(), VIEWS.items()):
        value = {one: first(numbers), "again": [second(numbers), (second(numbers.clone()), other)]}
        torch.save(value, tmp_path / "file.pt")
        same(read_torch(tmp_path / "file.pt"), value)


def test_shared_storages_share_memory(tmp_path: Path) -> None:
    torch = peer("torch")
    weight = torch.ones(3, 4)
    torch.save({"a": weight, "b": weight[1], "c": torch.ones(3)}, tmp_path / "file.pt")
    found = read_torch(tmp_path / "file.pt")
    found["a"][1, 2] = 5
    assert found["b"][2] == 5 and not np.shares_memory(found["a"], found["c"])


def test_modules_parameters_and_plain_values(tmp_path: Path) -> None:
    torch = peer("torch")
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    values: list[Any] = [
        module.state_dict(),
        dict(module.named_parameters()),
        {"cfg": {"n": 3, "x": 1.5, "name": "text", "ok": True, "none": None, "bytes": b"\0\xff"}},
        {
            "empty": b"",
            1: -5,
            2.5: 2**62,
            None: -(2**63),
            False: ["é", "", []],
            "dtype": torch.bfloat16,
        },
        {"shape": torch.zeros(2, 3).size()},
        torch.ones(2),
        (),
    ]
    for value in values:
        torch.save(value, tmp_path / "file.pt")
        same(read_torch(tmp_path / "file.pt"), value)


def test_pickles_that_are_not_data(tmp_path: Path) -> None:
    torch = peer("torch")
    refused: list[tuple[Any, str]] = [
        (torch.nn.Linear(2, 3), "torch.nn.modules.linear.Linear"),
        ({"f": torch.relu}, "getattr"),
        (torch.ones(3, dtype=torch.complex64), "ComplexFloatStorage"),
        (torch.ones(2, 2).to_sparse(), "sparse"),
        (torch._neg_view(torch.ones(2)), "a tensor with .*neg"),
        ({Path("x")}, "opcode|Path|set"),
    ]
    for value, name in refused:
        torch.save(value, tmp_path / "file.pt")
        with pytest.raises(ValueError, match=name) as error:
            read_torch(tmp_path / "file.pt")
        assert len(str(error.value).splitlines()) == 1


def test_the_older_format_is_refused_by_name(tmp_path: Path) -> None:
    torch = peer("torch")
    torch.save([1], tmp_path / "file.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(ValueError, match="format before version 1.6; .*save it again"):
        read_torch(tmp_path / "file.pt")


NUMBERS = (np.arange(24).reshape(4, 6) - 5).astype(np.float32)
FILES = GOLDEN / "torch_files"


@pytest.mark.parametrize("dtype", DTYPES)
def test_types_as_torch_wrote_them(dtype: str) -> None:
    found = read_torch(FILES / "types.pt")[dtype]
    kind = jnp.bfloat16 if dtype == "bfloat16" else dtype
    assert found.dtype == np.dtype(kind)
    np.testing.assert_array_equal(found, (np.arange(24).reshape(4, 6) - 5).astype(kind))


def test_views_as_torch_wrote_them() -> None:
    found = read_torch(FILES / "views.pt")
    expected = {
        "whole": NUMBERS,
        "transposed": NUMBERS.T,
        "part": NUMBERS[1:, ::2],
        "expanded": np.broadcast_to(NUMBERS[:1], (7, 6)),
        "number": NUMBERS[2, 3],
        "empty": NUMBERS[:0],
        "axes": NUMBERS.reshape(2, 2, 3, 2).transpose(3, 1, 0, 2),
        "own": NUMBERS,
    }
    assert list(found) == list(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, strict=True, err_msg=name)
        shared = np.shares_memory(found["whole"], found[name])
        assert shared == (name not in ("empty", "own"))


def test_nested_values_as_torch_wrote_them() -> None:
    found = read_torch(FILES / "nested.pt")
    for part in ("state", "parameters"):
        np.testing.assert_array_equal(found[part]["weight"], NUMBERS[:2, :3])
        np.testing.assert_array_equal(found[part]["bias"], NUMBERS[3, :2])
    cfg = {"n_layers": 2, "eps": 1e-5, "name": "text", "dtype": "float32", "none": None}
    assert found["cfg"] == cfg
    assert found["list"] == [1, -(2**40), (True, b"\0\xff", b""), 0.25, (2, 3)]


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("older.pt", "format before version 1.6; load it with torch and save it again"),
        ("module.pt", "refused: the pickle names 'torch.nn.modules.linear.Linear'"),
        ("config.pkl", "it is not a file of torch.save"),
    ],
)
def test_files_of_torch_that_hold_no_data(file: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_torch(FILES / file)


@pytest.mark.parametrize("file", ["torch_files/types.pt", "published_format/3/ll_model.pth"])
def test_truncated_at_every_64_bytes(tmp_path: Path, no_shape_checks, file: str) -> None:
    content = (GOLDEN / file).read_bytes()
    for end in range(0, len(content), 64):
        (tmp_path / "file").write_bytes(content[:end])
        with refused(str(tmp_path / "file")):
            read_torch(tmp_path / "file")


@pytest.mark.slow
def test_85_million_weights_take_less_than_twice_their_size(tmp_path: Path) -> None:
    """Measured in a separate process, read as in an import."""
    big, narrow, n_layers = 768, 64, 12
    shapes: dict[str, tuple[int, ...]] = {"embed.W_E": (300, big), "pos_embed.W_pos": (1024, big)}
    for layer in range(n_layers):
        attention, mlp = f"blocks.{layer}.attn.", f"blocks.{layer}.mlp."
        shapes |= {f"{attention}W_{kind}": (12, big, narrow) for kind in "QKV"}
        shapes |= {f"{attention}b_{kind}": (12, narrow) for kind in "QKV"}
        shapes |= {f"{attention}W_O": (12, narrow, big), f"{attention}b_O": (big,)}
        shapes |= {f"{mlp}W_in": (big, 4 * big), f"{mlp}b_in": (4 * big,)}
        shapes |= {f"{mlp}W_out": (4 * big, big), f"{mlp}b_out": (big,)}
    shapes |= {"unembed.W_U": (big, 300), "unembed.b_U": (300,)}
    entries, storages = b"", {}
    for place, (weight, shape) in enumerate(shapes.items()):
        strides = tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
        memory = storage(str(place), math.prod(shape))
        entries += text(weight) + tensor(memory, shape, strides)
        storages[str(place)] = np.ones(math.prod(shape), np.float32).tobytes()
    size = sum(map(len, storages.values()))
    assert size > 4 * 85e6
    (tmp_path / "big.pth").write_bytes(archive(program(b"}(" + entries + b"u"), storages))
    del storages
    benchmark = Path(__file__).parents[2] / "benchmarks" / "import_speed.py"
    command = [sys.executable, str(benchmark), "--load", str(tmp_path / "big.pth")]
    found = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert size / 2 < found["mb"] * 2**20 < 2 * size  # they are converted, so copied
