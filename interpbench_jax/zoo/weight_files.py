"""State dicts in files: NumPy's `.npz`, `.safetensors`, and files of `torch.save`."""

from collections.abc import Mapping
from pathlib import Path
from reprlib import repr as short  # a bad value may be as long as a file

import numpy as np
import safetensors.numpy

from interpbench_jax.files import opened, replacing
from interpbench_jax.files.bounded import MEBIBYTE
from interpbench_jax.zoo.mapped_safetensors import map_safetensors
from interpbench_jax.zoo.npz import read_npz
from interpbench_jax.zoo.torch_files import LARGEST, read_torch
from interpbench_jax.zoo.torch_writing import write_torch

TORCH = (".pt", ".pth", ".bin")
_SUFFIXES = (".npz", ".safetensors", *TORCH)
_MOST_COMPRESSED = 200  # largest ratio; weights hardly compress unless most of them are zero


def read_weights(file: str | Path) -> dict[str, np.ndarray]:
    """Reads the arrays of a state dict by name; nothing in the file is run.

    Args:
      file: `.npz`, `.safetensors`, or a torch file (`.pt`, `.pth`, `.bin`) with a state dict.

    Raises:
      ValueError: there is no such file, its suffix is unknown, it is damaged, or it holds anything
        other than arrays of numbers by name; the message names the file.
    """
    file = Path(file)
    _check_suffix(file)
    try:
        if file.suffix == ".npz":
            return _read_npz(file)
        if file.suffix == ".safetensors":
            return map_safetensors(file)
        state = read_torch(file)
    except FileNotFoundError:
        raise ValueError(f"{file} is missing") from None
    if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
        raise ValueError(f"{file} does not hold a state dict: it is a {type(state).__name__}")
    for name, value in state.items():
        if not isinstance(value, np.ndarray):
            raise ValueError(f"{file}: {short(name)} is a {type(value).__name__}, not a tensor")
    return dict(state)


def write_weights(weights: Mapping[str, np.ndarray], file: str | Path) -> None:
    """Writes arrays by name; the suffix determines the format, as in `read_weights`.

    Raises:
      ValueError: the suffix is unknown, or NumPy cannot write a name to `.npz`.
      OSError: the directory cannot be written to.
    """
    file = Path(file)
    _check_suffix(file)
    plain = {name: np.ascontiguousarray(weight) for name, weight in weights.items()}
    if file.suffix == ".npz" and (taken := plain.keys() & {"file", "allow_pickle"}):
        raise ValueError(f"{file}: an array in .npz cannot be named {min(taken)!r}")
    with replacing(file) as partial:
        if file.suffix == ".npz":
            np.savez(partial, **plain)  # type: ignore[arg-type]
        elif file.suffix == ".safetensors":
            safetensors.numpy.save_file(plain, partial)
        else:
            write_torch(plain, partial)


def _check_suffix(file: Path) -> None:
    if file.suffix not in _SUFFIXES:
        raise ValueError(f"{file}: expected a suffix of {', '.join(_SUFFIXES)}")


def _read_npz(file: Path) -> dict[str, np.ndarray]:
    with opened(file, limit=LARGEST) as (stream, size):
        try:
            return read_npz(stream, limit=_MOST_COMPRESSED * size + MEBIBYTE)
        except ValueError as error:
            raise ValueError(f"{file} cannot be read: {str(error)[:500]}") from error
