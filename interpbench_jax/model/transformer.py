"""The one network of the package, with seams where interventions go.

Inside, arrays have the features first and the batch last: every matrix product is then one wide
GEMM and attention is elementwise over the batch, which is what tiny models need. At the interface
the order is the usual `[batch, pos, ...]`; the transposes cancel when calls are composed in one
`jit`.
"""

import math
from collections.abc import Mapping
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Array, Float, Int

from interpbench_jax.model.attention import attend
from interpbench_jax.model.config import TransformerConfig
from interpbench_jax.model.graph import Graph
from interpbench_jax.model.patch import EdgePatch, NodePatch, Patch
from interpbench_jax.model.stream import ResidualStream

Params = Mapping[str, Any]
"""Weights as nested dicts, in TransformerLens names and shapes: `params["blocks_0"]["attn"]["W_Q"]`
is `[head, d_model, d_head]`."""

_ACTIVATIONS = {
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "gelu_tanh": lambda x: jax.nn.gelu(x, approximate=True),
    "relu": jax.nn.relu,
}
# `init_params` fills the weights in.
_BLANK = nn.initializers.zeros
# Up to here a product with one-hot tokens is faster than a gather and its scattered gradient.
_ONE_HOT_VOCAB = 128


def forward(
    params: Params,
    config: TransformerConfig,
    tokens: Int[Array | np.ndarray, "batch pos"],
    patch: Patch | None = None,
) -> tuple[Float[Array, "batch pos d_vocab_out"], Float[Array, "batch pos writer d_model"]]:
    """Runs the model, under an intervention if one is given.

    Args:
      params: weights, as `init_params` makes them.
      config: the model's shape; static.
      tokens: token ids, BOS first; at most `config.n_ctx` positions.
      patch: which nodes or edges to replace, and by what; `None` is the model itself.

    Returns:
      The logits, and what every writer put into the residual stream (patched where it was).

    Raises:
      ValueError: tokens or patch do not fit the model.
    """
    _check_shapes(config, tokens, patch)
    logits, writers = _apply(Transformer(config), params, tokens, patch)
    return logits.transpose(2, 1, 0), writers.transpose(3, 2, 0, 1)


def forward_as_source(
    params: Params, config: TransformerConfig, tokens: Int[Array, "batch pos"]
) -> Float[Array, "batch pos writer d_model"]:
    """What every writer writes, cut off from the weights it comes from.

    For interchanges in training: the patched values are given, so no gradient flows back into
    the source run. Only each MLP's output map is live, as in the original, which patches MLPs
    between activation and output map.

    Args:
      params: weights.
      config: the model's shape; static.
      tokens: token ids, BOS first.
    """
    _check_shapes(config, tokens, None)
    _, writers = _apply(Transformer(config, detached=True), params, tokens, None)
    return writers.transpose(3, 2, 0, 1)


def init_params(config: TransformerConfig, key: Array) -> Params:
    """Draws initial weights: normal with `config.init_std`; biases zero, LayerNorm scales one.

    All weights come from one draw: a draw for each takes seconds to compile.

    Args:
      config: the model's shape.
      key: a JAX random key.
    """
    blank = jax.eval_shape(Transformer(config).init, key, jnp.zeros((1, 1), int), None)["params"]
    weights = {name: w for name, w in flatten_dict(blank).items() if name[-1].startswith("W_")}
    ends = np.cumsum([math.prod(w.shape) for w in weights.values()])
    drawn = jnp.split(config.init_std * jax.random.normal(key, (int(ends[-1]),)), ends[:-1])
    params = {
        name: jnp.ones(w.shape) if name[-1] == "w" else jnp.zeros(w.shape)
        for name, w in flatten_dict(blank).items()
    }
    for (name, weight), values in zip(weights.items(), drawn, strict=True):
        params[name] = values.reshape(weight.shape)
    return unflatten_dict(params)


class Transformer(nn.Module):
    """Embedding, blocks and unembedding around one residual stream; features first, batch last.

    Attributes:
      config: the shape.
      detached: whether gradients stop at every head and at every MLP's hidden units.
    """

    config: TransformerConfig
    detached: bool = False

    @nn.compact
    def __call__(
        self, tokens: Int[Array, "batch pos"], patch: Patch | None
    ) -> tuple[Float[Array, "d_vocab_out pos batch"], Float[Array, "writer d_model pos batch"]]:
        """Logits and what every writer wrote."""
        config, graph = self.config, Graph.of(self.config)
        embedded = Embed(config, name="embed")(tokens.T)
        embedded += PositionEmbed(config, name="pos_embed")(tokens.shape[1])[:, :, None]
        embedded = jax.lax.stop_gradient(embedded) if self.detached else embedded
        stream = ResidualStream(graph, patch)
        stream.write(embedded[None])
        for layer in range(config.n_layers):
            Block(config, self.detached, name=f"blocks_{layer}")(stream, layer)
        final = stream.read(slice(graph.n_readers - 1, graph.n_readers))[0]
        if config.layer_norm:
            final = LayerNorm(config, name="ln_final")(final)
        return Unembed(config, name="unembed")(final), stream.writers()


class Block(nn.Module):
    """One layer: attention reads and writes the stream, then the MLP does."""

    config: TransformerConfig
    detached: bool

    @nn.compact
    def __call__(self, stream: ResidualStream, layer: int) -> None:
        """Runs the layer on the stream."""
        config, graph = self.config, stream.graph
        seen = stream.read(graph.attention_readers(layer))
        if config.layer_norm:
            seen = LayerNorm(config, name="ln1")(seen)
        heads, bias = Attention(config, name="attn")(seen)
        stream.write(jax.lax.stop_gradient(heads) if self.detached else heads)
        stream.add_constant(bias)
        reader = graph.mlp_reader(layer)
        seen = stream.read(slice(reader, reader + 1))[0]
        if config.layer_norm:
            seen = LayerNorm(config, name="ln2")(seen)
        stream.write(Mlp(config, self.detached, name="mlp")(seen)[None])


class Embed(nn.Module):
    """Token embedding."""

    config: TransformerConfig

    @nn.compact
    def __call__(self, tokens: Int[Array, "pos batch"]) -> Float[Array, "d_model pos batch"]:
        """Looks the tokens up."""
        c = self.config
        table = self.param("W_E", _BLANK, (c.d_vocab, c.d_model))
        if c.d_vocab <= _ONE_HOT_VOCAB:
            one_hot = jax.nn.one_hot(tokens, c.d_vocab, axis=0, dtype=table.dtype)
            return jnp.einsum("vd,vpb->dpb", table, one_hot, precision="highest")
        return table[tokens].transpose(2, 0, 1)


class PositionEmbed(nn.Module):
    """Learned position embedding."""

    config: TransformerConfig

    @nn.compact
    def __call__(self, n_pos: int) -> Float[Array, "d_model pos"]:
        """The embeddings of the first positions."""
        c = self.config
        table = self.param("W_pos", _BLANK, (c.n_ctx, c.d_model))
        return table[:n_pos].T


class Attention(nn.Module):
    """Multi-head attention whose heads are told apart."""

    config: TransformerConfig

    @nn.compact
    def __call__(
        self, seen: Float[Array, "reader d_model pos batch"]
    ) -> tuple[Float[Array, "head d_model pos batch"], Float[Array, " d_model"]]:
        """What each head writes, and the layer's output bias, which belongs to no head.

        Args:
          seen: the inputs of all q, k and v of the layer, or a single one that all of them see.
        """
        c = self.config
        inputs = jnp.split(seen, 3) if seen.shape[0] > 1 else [seen[0]] * 3
        projected = []
        for x, name in zip(inputs, "QKV", strict=True):
            weight = self.param(f"W_{name}", _BLANK, (c.n_heads, c.d_model, c.d_head))
            bias = self.param(f"b_{name}", _BLANK, (c.n_heads, c.d_head))
            spec = "hde,dpb->hepb" if x.ndim == 3 else "hde,hdpb->hepb"
            projected.append(jnp.einsum(spec, weight, x) + bias[:, :, None, None])
        z = attend(*projected, causal=c.causal)
        weight = self.param("W_O", _BLANK, (c.n_heads, c.d_head, c.d_model))
        return jnp.einsum("hed,hepb->hdpb", weight, z), self.param("b_O", _BLANK, (c.d_model,))


class Mlp(nn.Module):
    """Two linear maps with an activation between."""

    config: TransformerConfig
    detached: bool

    @nn.compact
    def __call__(self, x: Float[Array, "d_model pos batch"]) -> Float[Array, "d_model pos batch"]:
        """What the MLP writes."""
        c = self.config
        w_in = self.param("W_in", _BLANK, (c.d_model, c.d_mlp))
        b_in = self.param("b_in", _BLANK, (c.d_mlp,))
        w_out = self.param("W_out", _BLANK, (c.d_mlp, c.d_model))
        b_out = self.param("b_out", _BLANK, (c.d_model,))
        hidden = jnp.einsum("dm,dpb->mpb", w_in, x) + b_in[:, None, None]
        hidden = _ACTIVATIONS[c.activation](hidden)
        hidden = jax.lax.stop_gradient(hidden) if self.detached else hidden
        return jnp.einsum("md,mpb->dpb", w_out, hidden) + b_out[:, None, None]


class LayerNorm(nn.Module):
    """Normalises every vector to mean 0 and variance 1, then scales and shifts it."""

    config: TransformerConfig

    @nn.compact
    def __call__(self, x: Float[Array, "*reader d_model pos batch"]) -> Array:
        """Works on the `d_model` axis, third from the end."""
        c = self.config
        scale = self.param("w", _BLANK, (c.d_model,))
        shift = self.param("b", _BLANK, (c.d_model,))
        x = x - x.mean(-3, keepdims=True)
        x = x / jnp.sqrt((x * x).mean(-3, keepdims=True) + c.layer_norm_eps)
        fit = (1,) * (x.ndim - 3) + (c.d_model, 1, 1)
        return x * scale.reshape(fit) + shift.reshape(fit)


class Unembed(nn.Module):
    """From the residual stream to logits."""

    config: TransformerConfig

    @nn.compact
    def __call__(
        self, x: Float[Array, "d_model pos batch"]
    ) -> Float[Array, "d_vocab_out pos batch"]:
        """Logits."""
        c = self.config
        weight = self.param("W_U", _BLANK, (c.d_model, c.d_vocab_out))
        bias = self.param("b_U", _BLANK, (c.d_vocab_out,))
        return jnp.einsum("dv,dpb->vpb", weight, x) + bias[:, None, None]


def _apply(
    module: Transformer, params: Params, tokens: Array | np.ndarray, patch: Patch | None
) -> tuple[Array, Array]:
    on_device = jax.tree.map(jnp.asarray, params)  # loaded weights are NumPy arrays
    said = module.apply({"params": on_device}, jnp.asarray(tokens), patch)
    return cast(tuple[Array, Array], said)


def _check_shapes(
    config: TransformerConfig, tokens: Array | np.ndarray, patch: Patch | None
) -> None:
    if tokens.ndim != 2:
        raise ValueError(f"tokens must be [batch, pos], got shape {tokens.shape}")
    n_batch, n_pos = tokens.shape
    if n_pos > config.n_ctx:
        raise ValueError(f"sequence of {n_pos} positions; the model takes at most {config.n_ctx}")
    if patch is None:
        return
    if not isinstance(patch, NodePatch | EdgePatch):
        raise ValueError(f"patch must be a NodePatch, an EdgePatch or None, got {type(patch)}")
    graph = Graph.of(config)
    expected = (n_batch, n_pos, graph.n_writers, config.d_model)
    if patch.source.shape != expected:
        raise ValueError(f"patch source has shape {patch.source.shape}, expected {expected}")
    rows = (n_batch, n_pos, graph.n_writers)
    if isinstance(patch, NodePatch):
        allowed = [rows[2:], (rows[0], rows[2]), rows]
    else:
        allowed = [(graph.n_writers, graph.n_readers)]
    if patch.mask.shape not in allowed:
        raise ValueError(f"patch mask has shape {patch.mask.shape}, expected one of {allowed}")
