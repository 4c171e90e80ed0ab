"""What `read_torch` reads is what torch wrote."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interpbench_jax.zoo.torch_files import read_torch

DTYPES = "float16 bfloat16 float32 float64 uint8 int8 int16 int32 int64 bool".split()


def same(ours: Any, theirs: Any) -> None:
    """Compares nested values; tensors bit by bit."""
    torch = pytest.importorskip("torch")
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
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    numbers = (torch.randn(4, 6) * 9).to(getattr(torch, dtype))
    for (one, first), (other, second) in itertools.product(VIEWS.items(), VIEWS.items()):
        value = {one: first(numbers), "again": [second(numbers), (second(numbers.clone()), other)]}
        torch.save(value, tmp_path / "file.pt")
        same(read_torch(tmp_path / "file.pt"), value)


def test_shared_storages_share_memory(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    weight = torch.ones(3, 4)
    torch.save({"a": weight, "b": weight[1], "c": torch.ones(3)}, tmp_path / "file.pt")
    found = read_torch(tmp_path / "file.pt")
    found["a"][1, 2] = 5
    assert found["b"][2] == 5 and not np.shares_memory(found["a"], found["c"])


def test_modules_parameters_and_plain_values(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
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


def test_what_is_no_data(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    refused: list[tuple[Any, str]] = [
        (torch.nn.Linear(2, 3), "torch.nn.modules.linear.Linear"),
        ({"f": torch.relu}, "getattr"),
        (torch.ones(3, dtype=torch.complex64), "ComplexFloatStorage"),
        (torch.ones(2, 2).to_sparse(), "sparse"),
        ({Path("x")}, "opcode|Path|set"),
    ]
    for value, name in refused:
        torch.save(value, tmp_path / "file.pt")
        with pytest.raises(ValueError, match=name) as error:
            read_torch(tmp_path / "file.pt")
        assert len(str(error.value).splitlines()) == 1


def test_the_older_format_is_refused_by_name(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.save([1], tmp_path / "file.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(ValueError, match="format before version 1.6; .*save it again"):
        read_torch(tmp_path / "file.pt")
