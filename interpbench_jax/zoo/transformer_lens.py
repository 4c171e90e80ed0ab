"""TransformerLens state dicts and files <-> our parameters.

Names and shapes are those of TransformerLens 3; only the nesting differs. See
`transformer_lens_names` for TransformerLens 4.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Array

from interpbench_jax.model import Params, TransformerConfig, weight_shapes
from interpbench_jax.model.config import Activation
from interpbench_jax.zoo.transformer_lens_names import Names, from_hooked, names_of, to_hooked
from interpbench_jax.zoo.weight_files import read_weights, write_weights

Normalization = Literal["LN", "LNPre"]
"""`normalization_type` in TransformerLens: LayerNorm with scales and shifts (`LN`), or with these
folded into the weights that follow (`LNPre`)."""

# Buffers that TransformerLens stores along with the weights.
_NOT_WEIGHTS = re.compile(r"blocks\.\d+\.attn\.(mask|IGNORE)")
_BLOCK = re.compile(r"^blocks\.(\d+)\.")
_NORM = re.compile(r"(blocks\.\d+\.ln[12]|ln_final)\.[wb]")
_FLOATS = ("float16", "bfloat16", "float32", "float64")


def from_transformer_lens(
    state: Mapping[str, np.ndarray | Array],
    *,
    causal: bool,
    normalization: Normalization | None,
    activation: Activation,
    layer_norm_eps: float = 1e-5,
    n_heads: int | None = None,
) -> tuple[Params, TransformerConfig]:
    """Reads weights named as in TransformerLens, of a standard decoder.

    The names are those of `HookedTransformer` (3), or of `NativeModel` or `TransformerBridge` (4).

    Sizes come from the shapes. Settings that the weights do not show are arguments, with values
    from the model's `cfg`: a folded LayerNorm and the activation leave no trace in the weights.

    A folded LayerNorm is read as a LayerNorm with scales 1 and shifts 0, which computes the same.

    Args:
      state: arrays by name, as in `{"embed.W_E": ..., "blocks.0.attn.W_Q": ...}`.
      causal: `cfg.attention_dir == "causal"`.
      normalization: `cfg.normalization_type`. Most models that `from_pretrained` loads are
        `LNPre`.
      activation: `cfg.act_fn`; `gelu` there is the exact form, `gelu_new` our `gelu_tanh`.
      layer_norm_eps: `cfg.eps`.
      n_heads: `cfg.n_heads`; required with the names of 4, whose shapes do not show it.

    Returns:
      The weights in float32, and the model's config.

    Raises:
      ValueError: a weight is missing, unknown, not a finite floating-point number, or has a shape
        that does not fit the others; or the weights contradict the normalisation.
    """
    if normalization is not None and normalization not in get_args(Normalization):
        raise ValueError(
            f"normalization must be one of {get_args(Normalization)} or None, got {normalization!r}"
        )
    state = {name: w for name, w in state.items() if not _NOT_WEIGHTS.match(name)}
    names = names_of(state)
    if names != "hooked" and n_heads is None:
        raise ValueError("weights have the names of TransformerLens 4; n_heads must be given")
    weights = {name: np.asarray(w) for name, w in state.items()}
    if names != "hooked" and n_heads is not None:
        weights = to_hooked(state, names, n_heads)
    del state  # so that each array can be released once it is converted
    scales = [name for name in weights if _NORM.fullmatch(name)]
    if scales and normalization != "LN":
        raise ValueError(
            f"weight {scales[0]!r} belongs to a LayerNorm that is not folded; expected "
            f"normalization 'LN', got {normalization!r}"
        )
    if not scales and normalization == "LN":
        raise ValueError(
            "no weights of LayerNorm, such as 'ln_final.w'; expected normalization 'LNPre' if it "
            "was folded, None if there is none, got 'LN'"
        )
    config = _read_config(weights, causal, normalization is not None, activation, layer_norm_eps)
    if n_heads is not None and config.n_heads != n_heads:
        raise ValueError(f"n_heads is {n_heads}, but the weights have {config.n_heads} heads")
    if normalization == "LNPre":
        weights |= {
            _their_name(path): np.ones(shape) if path[-1] == "w" else np.zeros(shape)
            for path, shape in weight_shapes(config).items()
            if path[-1] in ("w", "b")
        }
    return nested_params(weights, config), config


def to_transformer_lens(
    params: Params, names: Names = "hooked", *, folded: bool = False
) -> dict[str, np.ndarray]:
    """The inverse of `from_transformer_lens`: arrays by TransformerLens name.

    Args:
      params: weights of a transformer.
      names: names of `HookedTransformer` in 3 (`hooked`), or in 4 of `NativeModel` (`native`) or
        `TransformerBridge` (`bridge`).
      folded: whether to fold the scales and shifts of each LayerNorm into the weights that read
        from it, for a model whose `normalization_type` is `LNPre`; it computes the same.

    Raises:
      ValueError: names are `native` and the output bias is not zero.
    """
    hooked = {_their_name(path): np.asarray(w) for path, w in flatten_dict(params).items()}
    if folded:
        _fold(hooked)
    return hooked if names == "hooked" else from_hooked(hooked, names)


def _fold(weights: dict[str, np.ndarray]) -> None:
    """Folds every LayerNorm: a reader's `W` and `b` become `scale * W` and `shift @ W + b`."""
    for scale in [name for name in weights if _NORM.fullmatch(name) and name.endswith("w")]:
        norm = scale.removesuffix(".w")
        by, shift = weights.pop(scale)[:, None], weights.pop(f"{norm}.b")
        block, _, kind = norm.rpartition(".")
        of_heads, of_mlp = [f"{block}.attn.{{}}_{part}" for part in "QKV"], [f"{block}.mlp.{{}}_in"]
        for reader in {"ln1": of_heads, "ln2": of_mlp}.get(kind, ["unembed.{}_U"]):
            weight, bias = reader.format("W"), reader.format("b")
            weights[bias] = weights[bias] + shift @ weights[weight]
            weights[weight] = by * weights[weight]


def load_transformer_lens(
    file: str | Path,
    *,
    causal: bool,
    normalization: Normalization | None,
    activation: Activation,
    layer_norm_eps: float = 1e-5,
    n_heads: int | None = None,
) -> tuple[Params, TransformerConfig]:
    """`from_transformer_lens` for a file with a state dict.

    Args:
      file: `.npz`, `.safetensors`, or a file of `torch.save` (`.pt`, `.pth`, `.bin`). Nothing in it
        is run.
      causal: see `from_transformer_lens`.
      normalization: see `from_transformer_lens`.
      activation: see `from_transformer_lens`.
      layer_norm_eps: see `from_transformer_lens`.
      n_heads: see `from_transformer_lens`.

    Raises:
      ValueError: as `from_transformer_lens`, or the file cannot be read.
    """
    return from_transformer_lens(
        read_weights(file),
        causal=causal,
        normalization=normalization,
        activation=activation,
        layer_norm_eps=layer_norm_eps,
        n_heads=n_heads,
    )


def save_transformer_lens(
    params: Params, file: str | Path, names: Names = "hooked", *, folded: bool = False
) -> None:
    """Writes weights to a file that TransformerLens can load after `torch.load` or similar.

    Args:
      params: weights of a transformer.
      file: the file; its suffix determines the format, see `load_transformer_lens`.
      names: see `to_transformer_lens`.
      folded: see `to_transformer_lens`.

    Raises:
      ValueError: as `to_transformer_lens`, or the suffix is unknown.
    """
    write_weights(to_transformer_lens(params, names, folded=folded), file)


def nested_params(weights: dict[str, np.ndarray], config: TransformerConfig) -> Params:
    """Nests weights under TransformerLens names, after checking them against a model's config.

    Args:
      weights: arrays by name; each is taken out when it is converted, so that its memory is free.
      config: the model's config.

    Returns:
      New arrays in float32: float16 and bfloat16 are converted exactly, float64 is rounded.

    Raises:
      ValueError: a weight is missing, unknown, of another shape, not of a floating-point type, or
        not finite in float32; the message names it.
    """
    expected = {_their_name(path): (path, shape) for path, shape in weight_shapes(config).items()}
    for name, (_, shape) in expected.items():
        if name not in weights:
            raise ValueError(f"weight {name!r} is missing; expected shape {shape}")
        if weights[name].shape != shape:
            raise ValueError(f"weight {name!r} has shape {weights[name].shape}, expected {shape}")
    for name in weights:
        if name not in expected:
            raise ValueError(f"unknown weight {name!r} of shape {weights[name].shape}")
    return unflatten_dict(
        {path: as_float32(name, weights.pop(name)) for name, (path, _) in expected.items()}
    )


def as_float32(name: str, weight: np.ndarray) -> np.ndarray:
    """A copy of a weight in float32.

    Raises:
      ValueError: it is not of a floating-point type, or not finite in float32.
    """
    if weight.dtype.name not in _FLOATS:
        raise ValueError(
            f"weight {name!r} has type {weight.dtype}, expected one of {', '.join(_FLOATS)}"
        )
    with np.errstate(over="ignore"):  # overflow gives infinity, which is rejected
        converted = np.array(weight, np.float32)
    if not np.isfinite(converted).all():
        raise ValueError(f"weight {name!r} holds numbers that are not finite in float32")
    return converted


def _their_name(path: tuple[str, ...]) -> str:
    return ".".join(path).replace("blocks_", "blocks.")


def _read_config(
    weights: Mapping[str, np.ndarray],
    causal: bool,
    layer_norm: bool,
    activation: Activation,
    eps: float,
) -> TransformerConfig:
    def shape(name: str, n_axes: int) -> tuple[int, ...]:
        if name not in weights:
            raise ValueError(f"weight {name!r} is missing; got {sorted(weights)[:6]} ...")
        if weights[name].ndim != n_axes:
            raise ValueError(
                f"weight {name!r} has shape {weights[name].shape}, expected {n_axes} axes"
            )
        return weights[name].shape

    blocks = {int(m.group(1)) for m in map(_BLOCK.match, weights) if m}
    d_vocab, d_model = shape("embed.W_E", 2)
    n_heads, _, d_head = shape("blocks.0.attn.W_Q", 3)
    return TransformerConfig(
        n_layers=max(blocks, default=0) + 1,
        n_heads=n_heads,
        d_model=d_model,
        d_head=d_head,
        d_mlp=shape("blocks.0.mlp.W_in", 2)[1],
        n_ctx=shape("pos_embed.W_pos", 2)[0],
        d_vocab=d_vocab,
        d_vocab_out=shape("unembed.W_U", 2)[1],
        causal=causal,
        activation=activation,
        layer_norm=layer_norm,
        layer_norm_eps=eps,
    )
