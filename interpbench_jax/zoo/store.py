"""Models on disk: one directory each, with plain data only.

`model.safetensors` holds the weights under TransformerLens names, `config.json` the shape and the
variables, `circuit.json` the ground truth, `card.json` the record of training, `checksums.json` the
SHA-256 of each of these. Reading a model never runs code and trusts nothing: file sizes are
limited, and sizes in a file are checked before anything of that size is allocated.
"""

import contextlib
import hashlib
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar, get_args

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy

from interpbench_jax.files import (
    from_json,
    locked,
    read_bytes,
    read_json,
    replacing,
    write_json,
)
from interpbench_jax.files.bounded import MEBIBYTE
from interpbench_jax.files.replacing import umask
from interpbench_jax.model import Circuit, Graph, TransformerConfig, weight_shapes
from interpbench_jax.zoo.description import data_of_card, describe, read_card, read_description
from interpbench_jax.zoo.model import BenchmarkModel
from interpbench_jax.zoo.transformer_lens import nested_params, to_transformer_lens

BUNDLED = Path(__file__).parent / "models"
BundledPreset = Literal["edge-siit", "siit", "iit", "natural"]

_WEIGHTS, _CONFIG = "model.safetensors", "config.json"
_CIRCUIT, _CARD = "circuit.json", "card.json"
_CHECKED = _WEIGHTS, _CONFIG, _CIRCUIT, _CARD
_CHECKSUMS = "checksums.json"
_MOST_JSON = 4 * MEBIBYTE
_MOST_WEIGHTS = 2**31
_LONGEST_MESSAGE = 1_000  # names in a file may be as long as the file
_FLOATS = {"F16": np.float16, "BF16": jnp.bfloat16, "F32": np.float32, "F64": np.float64}
_T = TypeVar("_T")


def bundled_names(preset: BundledPreset = "edge-siit") -> tuple[str, ...]:
    """Names of the models that come with the package, by case.

    Args:
      preset: the preset they were trained with: `edge-siit` (named `3`), or for comparison `siit`
        (`siit/3`), `iit` or `natural`.
    """
    folder = BUNDLED if preset == "edge-siit" else BUNDLED / preset
    found = sorted(folder.glob("*/config.json"), key=lambda f: (len(f.parent.name), f.parent.name))
    return tuple(file.parent.relative_to(BUNDLED).as_posix() for file in found)


def every_bundled_name() -> tuple[str, ...]:
    """Names of the bundled models of all presets."""
    return tuple(name for preset in get_args(BundledPreset) for name in bundled_names(preset))


def load_model(name: str | Path, *, on_device: bool = True) -> BenchmarkModel:
    """Loads a bundled model by name (see `bundled_names`), or any model by its directory's path.

    Weights stored in another floating-point type become float32. Checksums are compared if the
    directory has them; directories of earlier versions have none.

    Args:
      name: name or path. A string that names a bundled model means that model; a `Path` is always a
        directory.
      on_device: put the weights on JAX's default device. Otherwise they are NumPy arrays, which
        every compiled call sends to the device again; then no device is started here.

    Raises:
      ValueError: there is no such model, or a file is missing, damaged, too large, of a newer
        format, or has unexpected content; the message names the file.
    """
    model = _read_model(name)[0]
    return replace(model, params=jax.device_put(model.params)) if on_device else model


class Inspection(NamedTuple):
    """Facts about a valid model directory.

    Attributes:
      case: name of the task.
      format: version of the format.
      n_weights: number of weights.
      n_edges: number of edges of the ground truth.
      has_checksums: whether every file was compared with its checksum.
    """

    case: str
    format: int
    n_weights: int
    n_edges: int
    has_checksums: bool


def inspect_model(name: str | Path) -> Inspection:
    """Checks structure, shapes and checksums of a model, as `load_model` does.

    Raises:
      ValueError: as `load_model`.
    """
    model, version, has_checksums = _read_model(name)
    n_weights = sum(map(math.prod, weight_shapes(model.config).values()))
    return Inspection(model.case, version, n_weights, len(model.circuit), has_checksums)


def _read_model(name: str | Path) -> tuple[BenchmarkModel, int, bool]:
    """A model, the version of its format, and whether it has checksums."""
    bundled = every_bundled_name()
    directory = BUNDLED / name if isinstance(name, str) and name in bundled else Path(name)
    if not os.path.isdir(directory):
        known = ", ".join(bundled)
        raise ValueError(f"no model {str(name)!r}: neither bundled ({known}) nor a directory")
    checksums = _read_checksums(directory)

    def read(file: str, parse: Callable[[bytes], _T], limit: int = _MOST_JSON) -> _T:
        try:
            content = read_bytes(directory / file, limit=limit)
        except FileNotFoundError:
            raise ValueError(f"{directory / file} is missing") from None
        if checksums is not None and checksums[file] != _checksum(content):
            raise ValueError(
                f"{directory / file} does not match its checksum: it was damaged, or changed by "
                f"hand (then delete {_CHECKSUMS})"
            )
        with errors_prefixed_by(directory / file):
            return parse(content)

    described = read(_CONFIG, lambda text: read_description(plain_json(text)))
    config = described.config
    with errors_prefixed_by(directory / _CONFIG):
        limit = largest_weights(config)
    circuit = read(_CIRCUIT, Circuit.from_json)
    if circuit.graph != Graph.of(config):
        raise ValueError(
            f"{directory / _CIRCUIT} is for {circuit.graph}, the model has {Graph.of(config)}"
        )
    card = read(_CARD, lambda text: read_card(plain_json(text), config))
    params = read(_WEIGHTS, lambda data: nested_params(_arrays(data), config), limit)
    model = BenchmarkModel(
        case=described.case,
        params=params,
        config=config,
        variables=described.variables,
        circuit=circuit,
        card=card,
        data=described.data or data_of_card(card, config),
    )
    return model, described.format, checksums is not None


def check_place(directory: Path) -> None:
    """Checks that a model can be written to a directory, and creates its parent.

    Existing models can be replaced.

    Raises:
      ValueError: the directory exists and is something other than a model, or cannot be made.
    """
    if os.path.lexists(directory) and not _describes_a_model(directory / _CONFIG):
        raise ValueError(f"{directory} exists and is not a model; will not replace it")
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{directory.name}.", dir=directory.parent):
            pass
    except OSError as error:
        raise ValueError(f"cannot write to {directory.parent}: {error.strerror}") from error


def _describes_a_model(file: Path) -> bool:
    try:
        read_description(read_json(file, limit=_MOST_JSON))
    except (OSError, ValueError, TypeError):
        return False
    return True


def save_model(model: BenchmarkModel, directory: str | Path) -> None:
    """Writes a model to a directory; an older model there is replaced, at the last moment.

    Other files in the directory are kept.

    Raises:
      ValueError: as `check_place`; a weight is not finite; or another process writes there now.
    """
    directory = Path(directory)
    check_place(directory)
    for name, weight in to_transformer_lens(model.params).items():
        if not np.isfinite(weight).all():
            raise ValueError(f"weight {name!r} holds numbers that are not finite; nothing written")
    fresh = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    try:
        # safetensors writes the memory in order and ignores strides.
        weights = to_transformer_lens(model.params)
        contiguous = {name: np.ascontiguousarray(weight) for name, weight in weights.items()}
        with replacing(fresh / _WEIGHTS) as partial:
            safetensors.numpy.save_file(contiguous, partial)
        with replacing(fresh / _CIRCUIT) as partial:
            partial.write_text(model.circuit.to_json(), "utf-8")
        write_json(fresh / _CONFIG, describe(model))
        write_json(fresh / _CARD, model.card)
        write_checksums(fresh)
        fresh.chmod(0o777 & ~umask())
        with locked(directory.with_name(f".{directory.name}.saving"), what=directory):
            if directory.exists():
                ours = {*_CHECKED, _CHECKSUMS}
                shutil.copytree(
                    directory, fresh, ignore=lambda *_: ours, symlinks=True, dirs_exist_ok=True
                )
            _swap(fresh, directory)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def write_checksums(directory: Path) -> None:
    """Writes the checksums of a model's files, so that `load_model` detects later changes."""
    sums = {file: _checksum((directory / file).read_bytes()) for file in _CHECKED}
    write_json(directory / _CHECKSUMS, sums)


def _read_checksums(directory: Path) -> dict[str, str] | None:
    """The checksum of every file of a model; None if an earlier version wrote it."""
    try:
        sums = read_json(directory / _CHECKSUMS, limit=MEBIBYTE)
    except FileNotFoundError:
        return None
    if not isinstance(sums, dict) or sums.keys() != set(_CHECKED):
        raise ValueError(
            f"{directory / _CHECKSUMS} does not hold checksums of {', '.join(_CHECKED)}"
        )
    return sums


def _checksum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _swap(fresh: Path, directory: Path) -> None:
    """Moves `fresh` to `directory`, and deletes the old directory afterwards."""
    if not directory.exists():
        os.rename(fresh, directory)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    try:
        os.rename(directory, old / "old")
        os.rename(fresh, directory)
    except BaseException:  # also if interrupted from the keyboard
        if not directory.exists():
            os.rename(old / "old", directory)
        raise
    finally:
        shutil.rmtree(old)


@contextlib.contextmanager
def errors_prefixed_by(file: Path) -> Iterator[None]:
    """Prefixes errors about a file's content with its name."""
    try:
        yield
    except (ValueError, TypeError, safetensors.SafetensorError) as error:
        raise ValueError(f"{file}: {str(error)[:_LONGEST_MESSAGE]}") from error


def plain_json(text: bytes) -> Any:
    """The plain data of a JSON file, whose name `errors_prefixed_by` puts before errors."""
    return from_json(text, source="its text")


def _arrays(content: bytes) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file, including bfloat16, which its NumPy reader rejects."""
    arrays = {}
    for name, stored in safetensors.deserialize(content):
        if stored["dtype"] not in _FLOATS:
            raise ValueError(
                f"weight {name!r} has type {stored['dtype']}, expected one of {', '.join(_FLOATS)}"
            )
        flat = np.frombuffer(stored["data"], _FLOATS[stored["dtype"]])
        arrays[name] = flat.reshape(stored["shape"])
    return arrays


def largest_weights(config: TransformerConfig) -> int:
    """The largest size of a file with the weights of a model: float64 and a header.

    Raises:
      ValueError: the model is too large.
    """
    shapes = weight_shapes(config)
    n_weights = sum(map(math.prod, shapes.values()))
    if n_weights > _MOST_WEIGHTS:
        raise ValueError(f"a model of {n_weights} weights; expected at most {_MOST_WEIGHTS}")
    return 8 * n_weights + 256 * len(shapes) + MEBIBYTE
