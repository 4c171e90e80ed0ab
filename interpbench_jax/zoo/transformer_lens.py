"""TransformerLens state dicts <-> our parameters: names and shapes agree, the nesting differs."""

import re
from collections.abc import Mapping

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Array

from interpbench_jax.model import Params, TransformerConfig, init_params
from interpbench_jax.model.config import Activation

# Buffers that TransformerLens keeps beside the weights.
_NOT_WEIGHTS = re.compile(r"blocks\.\d+\.attn\.(mask|IGNORE)")
_BLOCK = re.compile(r"^blocks\.(\d+)\.")


def from_transformer_lens(
    state: Mapping[str, np.ndarray | Array],
    *,
    causal: bool,
    activation: Activation = "gelu",
    layer_norm_eps: float = 1e-5,
) -> tuple[Params, TransformerConfig]:
    """Reads weights named as in TransformerLens; sizes come from the shapes.

    Args:
      state: arrays by name, as in `{"embed.W_E": ..., "blocks.0.attn.W_Q": ...}`.
      causal: `attention_dir == "causal"` in TransformerLens.
      activation: its `act_fn`; `gelu` there is the exact form, `gelu_new` our `gelu_tanh`.
      layer_norm_eps: its `eps`.

    Raises:
      ValueError: a weight is missing, unknown, or has a shape that does not fit the others.
    """
    weights = {name: np.asarray(w) for name, w in state.items() if not _NOT_WEIGHTS.match(name)}
    config = _read_config(weights, causal, activation, layer_norm_eps)
    return nested_params(weights, config), config


def to_transformer_lens(params: Params) -> dict[str, np.ndarray]:
    """The inverse of `from_transformer_lens`: arrays by TransformerLens name."""
    return {_their_name(path): np.asarray(w) for path, w in flatten_dict(params).items()}


def nested_params(weights: Mapping[str, np.ndarray], config: TransformerConfig) -> Params:
    """Nests weights under TransformerLens names, after holding them against a model's shape.

    Raises:
      ValueError: a weight is missing, unknown or of another shape; the message names it.
    """
    blank = jax.eval_shape(lambda key: init_params(config, key), jax.random.key(0))
    expected = {name: leaf.shape for name, leaf in flatten_dict(blank).items()}
    named = {_our_path(name): name for name in weights}
    for path, shape in expected.items():
        if path not in named:
            raise ValueError(f"weight {_their_name(path)!r} is missing; expected shape {shape}")
        if np.shape(weights[named[path]]) != shape:
            found = np.shape(weights[named[path]])
            raise ValueError(f"weight {named[path]!r} has shape {found}, expected {shape}")
    for path, name in named.items():
        if path not in expected:
            raise ValueError(f"unknown weight {name!r} of shape {np.shape(weights[name])}")
    return unflatten_dict({path: weights[name] for path, name in named.items()})


def _our_path(name: str) -> tuple[str, ...]:
    return tuple(_BLOCK.sub(r"blocks_\1.", name).split("."))


def _their_name(path: tuple[str, ...]) -> str:
    return ".".join(path).replace("blocks_", "blocks.")


def _read_config(
    weights: Mapping[str, np.ndarray], causal: bool, activation: Activation, eps: float
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
        layer_norm="blocks.0.ln1.w" in weights,
        layer_norm_eps=eps,
    )
