"""A folder with `config.json` and weights -> a network and its parameters."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from reprlib import repr as short  # a bad value may be as long as a file
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax.traverse_util import unflatten_dict
from jaxtyping import Array

from interpbench_jax.files import read_json
from interpbench_jax.files.bounded import MEBIBYTE
from interpbench_jax.model import DecoderNetwork, Params
from interpbench_jax.model.decoders.shapes import decoder_shapes
from interpbench_jax.model.shapes import WeightPath
from interpbench_jax.zoo.hugging_face.families import FAMILIES, Read
from interpbench_jax.zoo.hugging_face.settings import Settings
from interpbench_jax.zoo.transformer_lens import as_float32
from interpbench_jax.zoo.weight_files import read_weights

_CONFIG, _WEIGHTS = "config.json", ("model.safetensors", "pytorch_model.bin")
# Buffers that some versions store along with the weights.
_NOT_WEIGHTS = re.compile(
    r".*\.(attn|attention|self_attn)\.(bias|masked_bias|rotary_emb\.inv_freq)|rotary_emb\.inv_freq"
)
# Names of an unembedding that is tied to the embedding.
_HEADS = ("lm_head.weight", "embed_out.weight")


def load_hugging_face(
    folder: str | Path, *, ignored: Iterable[str] = ()
) -> tuple[DecoderNetwork, Params]:
    """Reads a model, of a family in `FAMILIES`, that `save_pretrained` of `transformers` wrote.

    Every discovery method runs on the network.

    Args:
      folder: a folder with `config.json`, and `model.safetensors` or `pytorch_model.bin`, as one
        file or in parts with an index.
      ignored: unknown fields of `config.json` that do not change what the model computes.

    Returns:
      The network, and its weights in float32.

    Raises:
      ValueError: a file is missing or damaged; the architecture is unknown; a field of
        `config.json` is unknown or not supported; or a weight is missing, unknown, not finite, or
        has another shape. The message names file and field.
    """
    folder = Path(folder)
    fields = _read_json(folder / _CONFIG)
    read = _read_config(fields, ignored, str(folder / _CONFIG))
    try:
        return DecoderNetwork(read.config), _params(_read_state(folder), read)
    except ValueError as error:
        raise ValueError(f"{folder}: {error}") from error


def from_hugging_face(
    state: Mapping[str, np.ndarray | Array],
    fields: Mapping[str, Any],
    *,
    ignored: Iterable[str] = (),
) -> tuple[DecoderNetwork, Params]:
    """`load_hugging_face` for a state dict and the fields of a `config.json`.

    Args:
      state: arrays by name.
      fields: the model's `model.config.to_dict()`.
      ignored: unknown fields that do not change what the model computes.

    Raises:
      ValueError: as `load_hugging_face`.
    """
    read = _read_config(fields, ignored, _CONFIG)
    return DecoderNetwork(read.config), _params(state, read)


def _read_config(fields: Mapping[str, Any], ignored: Iterable[str], source: str) -> Read:
    settings = Settings(fields, source)
    read = settings.choice(FAMILIES, "model_type")(settings)
    settings.require([None], "quantization_config")
    settings.require([False], "is_encoder_decoder")
    settings.require([False, True], "is_decoder")
    settings.check_all_known(ignored)
    return read


def _params(given: Mapping[str, np.ndarray | Array], read: Read) -> Params:
    """Our weights; checks first that all are present, and releases each array after use."""
    state = _usual_names(given, read)
    del given
    used: dict[str, list[WeightPath]] = {}
    for path, weight in read.weights.items():
        used.setdefault(weight.name, []).append(path)
    for weight in read.weights.values():
        if weight.name not in state:
            raise ValueError(f"weight {weight.name!r} is missing; expected shape {weight.shape}")
        found = state[weight.name].shape
        if found != weight.shape:
            raise ValueError(f"weight {weight.name!r} has shape {found}, expected {weight.shape}")
    for name, array in state.items():
        if name in used or _NOT_WEIGHTS.fullmatch(name):
            continue
        if name in _HEADS and read.config.tied:
            embedding = state[read.weights["embed", "W_E"].name]
            if np.array_equal(array, embedding):
                continue
            raise ValueError(f"weight {name!r} differs from the embedding that it is tied to")
        raise ValueError(f"unknown weight {short(name)} of shape {array.shape}")
    shapes = decoder_shapes(read.config)
    params = {path: jnp.zeros(shape) for path, shape in shapes.items() if path not in read.weights}
    for name, paths in used.items():
        theirs = state.pop(name)
        for path in paths:
            ours = as_float32(name, read.weights[path].ours(theirs))
            params[path] = jnp.array(ours)
    return unflatten_dict(params)


def _usual_names(state: Mapping[str, np.ndarray | Array], read: Read) -> dict[str, np.ndarray]:
    """Renames weights as in a model without a head on top."""
    plain = {}
    for name, array in state.items():
        own = name.removeprefix(read.prefix)
        own = read.aliases.get(own, own)
        if own in plain:
            raise ValueError(f"weight {short(own)} occurs twice, with and without {read.prefix}")
        plain[own] = np.asarray(array)
    return plain


def _read_state(folder: Path) -> dict[str, np.ndarray]:
    """All arrays of one file, or of all parts that an index names."""
    for whole in _WEIGHTS:
        index = folder / f"{whole}.index.json"
        if (folder / whole).exists():
            return read_weights(folder / whole)
        if index.exists():
            return _read_parts(index, Path(whole).suffix)
    raise ValueError(f"{folder} has none of {', '.join(_WEIGHTS)}, and no index of their parts")


def _read_parts(index: Path, suffix: str) -> dict[str, np.ndarray]:
    places = _read_json(index).get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(file, str) for file in places.values()):
        raise ValueError(f"{index}: weight_map must name a file for every weight")
    parts: dict[str, dict[str, np.ndarray]] = {}
    for file in sorted(set(places.values())):
        if Path(file).name != file or not file.endswith(suffix):
            raise ValueError(f"{index}: {short(file)} is not the name of a {suffix} file")
        parts[file] = read_weights(index.parent / file)
    for name, file in places.items():
        if name not in parts[file]:
            raise ValueError(
                f"{index.parent / file} has no weight {short(name)}, which {index.name} names"
            )
    return {name: parts[file][name] for name, file in places.items()}


def _read_json(file: Path) -> dict[str, Any]:
    try:
        data = read_json(file, limit=64 * MEBIBYTE)
    except FileNotFoundError:
        raise ValueError(f"{file} is missing") from None
    if not isinstance(data, dict):
        raise ValueError(f"{file} does not hold an object")
    return data
