"""Models on disk: one directory each, plain data only.

`model.safetensors` holds the weights under TransformerLens names, `config.json` the shape and the
variables, `circuit.json` the ground truth, `card.json` the record of training. Nothing here can
run code when it is read.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Literal, TypeVar, get_args

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from interpbench_jax.model import Circuit, Graph, TransformerConfig
from interpbench_jax.zoo.model import AlignedVariable, BenchmarkModel
from interpbench_jax.zoo.transformer_lens import nested_params, to_transformer_lens

BUNDLED = Path(__file__).parent / "models"
BundledPreset = Literal["siit", "iit", "natural"]
_T = TypeVar("_T")


def bundled_names(preset: BundledPreset = "siit") -> tuple[str, ...]:
    """Names of the models that come with the package, by case.

    Args:
      preset: how they were trained: `siit`, such as `3`; or, to compare with, `iit` (`iit/3`) and
        `natural` (`natural/3`).
    """
    folder = BUNDLED if preset == "siit" else BUNDLED / preset
    found = sorted(folder.glob("*/config.json"), key=lambda f: (len(f.parent.name), f.parent.name))
    return tuple(file.parent.relative_to(BUNDLED).as_posix() for file in found)


def every_bundled_name() -> tuple[str, ...]:
    """Of all presets."""
    return tuple(name for preset in get_args(BundledPreset) for name in bundled_names(preset))


def load_model(name: str | Path) -> BenchmarkModel:
    """Loads a bundled model by name (see `bundled_names`), or any model by its directory's path.

    Raises:
      ValueError: there is no such model, or a file is missing, truncated, or not what it should
        be; the message names the file.
    """
    bundled = every_bundled_name()
    directory = BUNDLED / str(name) if str(name) in bundled else Path(name)
    if not directory.is_dir():
        known = ", ".join(bundled)
        raise ValueError(f"no model {str(name)!r}: neither bundled ({known}) nor a directory")
    described = _read(directory / "config.json", json.loads)
    circuit = _read(directory / "circuit.json", Circuit.from_json)
    card = _read(directory / "card.json", json.loads)
    try:
        config = TransformerConfig(**described["model"])
        case = str(described["case"])
        variables = tuple(
            AlignedVariable(**{**v, "values": tuple(v["values"])}) for v in described["variables"]
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{directory / 'config.json'} does not describe a model: {error}"
        ) from error
    if circuit.graph != Graph.of(config):
        raise ValueError(
            f"{directory / 'circuit.json'} is for {circuit.graph}, the model has {Graph.of(config)}"
        )
    weights_file = directory / "model.safetensors"
    try:
        params = nested_params(safetensors.numpy.load_file(weights_file), config)
    except (SafetensorError, OSError, ValueError) as error:
        raise ValueError(f"{weights_file} does not hold this model's weights: {error}") from error
    return BenchmarkModel(
        case=case, params=params, config=config, variables=variables, circuit=circuit, card=card
    )


def check_place(directory: Path) -> None:
    """Makes sure that a model can be written to a directory, and makes the one above it.

    Raises:
      ValueError: the directory exists and is something other than a model, or cannot be made.
    """
    if directory.exists() and not (directory / "config.json").exists():
        raise ValueError(f"{directory} exists and is not a model; will not replace it")
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"cannot write to {directory.parent}: {error.strerror}") from error


def save_model(model: BenchmarkModel, directory: str | Path) -> None:
    """Writes a model to a directory; an older model there is replaced, at the last moment.

    Raises:
      ValueError: as `check_place`.
    """
    directory = Path(directory)
    check_place(directory)
    fresh = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    try:
        # safetensors writes the memory as it lies, whatever the strides.
        weights = to_transformer_lens(model.params)
        contiguous = {name: np.ascontiguousarray(weight) for name, weight in weights.items()}
        safetensors.numpy.save_file(contiguous, fresh / "model.safetensors")
        described = {
            "case": model.case,
            "model": asdict(model.config),
            "variables": [asdict(variable) for variable in model.variables],
        }
        (fresh / "config.json").write_text(json.dumps(described, indent=1))
        (fresh / "circuit.json").write_text(model.circuit.to_json())
        (fresh / "card.json").write_text(json.dumps(model.card, indent=1))
        fresh.chmod(0o755)
        (fresh / "model.safetensors").chmod(0o644)
        _swap(fresh, directory)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _swap(fresh: Path, directory: Path) -> None:
    """Puts `fresh` where `directory` is; what was there is deleted afterwards."""
    if not directory.exists():
        os.rename(fresh, directory)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    os.rename(directory, old / "old")
    os.rename(fresh, directory)
    shutil.rmtree(old)


def _read(file: Path, parse: Callable[[str], _T]) -> _T:
    try:
        return parse(file.read_text())
    except FileNotFoundError as error:
        raise ValueError(f"{file} is missing") from error
    except (ValueError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} cannot be read: {error}") from error
