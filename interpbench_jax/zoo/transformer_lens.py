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
    params = nest(weights)
    check_shapes(params, config)
    return params, config


def to_transformer_lens(params: Params) -> dict[str, np.ndarray]:
    """The inverse of `from_transformer_lens`: arrays by TransformerLens name."""
    flat = flatten_dict(params, sep=".")
    return {name.replace("blocks_", "blocks."): np.asarray(w) for name, w in flat.items()}


def nest(weights: Mapping[str, np.ndarray]) -> Params:
    """Nests weights by their dotted names."""
    return unflatten_dict({_our_path(name): w for name, w in weights.items()})


def check_shapes(params: Params, config: TransformerConfig) -> None:
    """Compares names and shapes of weights with what a model of this shape has.

    Raises:
      ValueError: they differ; the message names the first weight that does.
    """
    found = {name: tuple(w.shape) for name, w in flatten_dict(params, sep="/").items()}
    for name, shape in expected_shapes(config).items():
        if name not in found:
            raise ValueError(f"weight {name!r} is missing; expected shape {shape}")
        if found.pop(name) != shape:
            got = np.shape(flatten_dict(params, sep="/")[name])
            raise ValueError(f"weight {name!r} has shape {got}, expected {shape}")
    if found:
        raise ValueError(f"unknown weight {min(found)!r} of shape {found[min(found)]}")


def expected_shapes(config: TransformerConfig) -> dict[str, tuple[int, ...]]:
    """Shape of every weight of a model, by its path joined with slashes."""
    params = jax.eval_shape(lambda key: init_params(config, key), jax.random.key(0))
    return {name: tuple(w.shape) for name, w in flatten_dict(params, sep="/").items()}


def _our_path(name: str) -> tuple[str, ...]:
    return tuple(_BLOCK.sub(r"blocks_\1.", name).split("."))


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
