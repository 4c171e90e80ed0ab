"""The transformer whose models the package trains.

Inside, arrays have the features first and the batch last: every matrix product is then one wide
GEMM and attention is elementwise over the batch, which is fast for tiny models. All writing and
reading goes through a `Stream`, which the caller passes in and which applies interventions.
"""

import math
from collections.abc import Mapping
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import unflatten_dict
from jaxtyping import Array, Float, Int

from interpbench_jax.model.attention import Padding
from interpbench_jax.model.backward import DERIVATIVE, Backward
from interpbench_jax.model.config import TransformerConfig
from interpbench_jax.model.layers import Attention, Embed, LayerNorm, Mlp, PositionEmbed, Unembed
from interpbench_jax.model.shapes import weight_shapes
from interpbench_jax.model.stream import Stream, in_one_block

Params = Mapping[str, Any]
"""Weights as nested dicts, in TransformerLens names and shapes: `params["blocks_0"]["attn"]["W_Q"]`
is `[head, d_model, d_head]`."""


def init_params(config: TransformerConfig, key: Array) -> Params:
    """Draws initial weights: normal with `config.init_std`; biases zero, LayerNorm scales one.

    All weights come from one draw; separate draws would take seconds to compile.

    Args:
      config: the model's shape.
      key: a JAX random key.
    """
    shapes = weight_shapes(config)
    weights = {path: shape for path, shape in shapes.items() if path[-1].startswith("W_")}
    ends = np.cumsum([math.prod(shape) for shape in weights.values()])
    drawn = jnp.split(config.init_std * jax.random.normal(key, (int(ends[-1]),)), ends[:-1])
    params = {
        path: jnp.ones(shape) if path[-1] == "w" else jnp.zeros(shape)
        for path, shape in shapes.items()
    }
    for (path, shape), values in zip(weights.items(), drawn, strict=True):
        params[path] = values.reshape(shape)
    return unflatten_dict(params)


class Transformer(nn.Module):
    """Embedding, blocks and unembedding around one residual stream.

    Attributes:
      config: the shape.
      start: the stage to start at, if the stream already holds what earlier stages wrote; `None`
        starts by embedding the tokens.
      backward: the backward pass.
    """

    config: TransformerConfig
    start: int | None = None
    backward: Backward = DERIVATIVE

    @nn.compact
    def __call__(
        self, tokens: Int[Array, "batch pos"], stream: Stream
    ) -> Float[Array, "d_vocab_out pos batch"]:
        """Logits.

        Args:
          tokens: token ids.
          stream: receives everything that is written.
        """
        config = self.config
        padding = None if config.pad is None else tokens.T == config.pad
        if self.start is None:
            embedded = Embed(config, name="embed")(tokens.T)
            position = PositionEmbed(config, name="pos_embed")(tokens.shape[1])
            stream.write_input(embedded + position[:, :, None])
        start = self.start or 0
        for layer in range(start // 2, config.n_layers):
            block = Block(config, self.backward, name=f"blocks_{layer}")
            block(stream, layer, padding, attention=2 * layer >= start)
        final = stream.read_last()
        if config.layer_norm:
            final = LayerNorm(config, self.backward, name="ln_final")(final)
        return Unembed(config, name="unembed")(final)


class Block(nn.Module):
    """One layer: attention reads and writes the stream, then the MLP does."""

    config: TransformerConfig
    backward: Backward = DERIVATIVE

    @nn.compact
    def __call__(self, stream: Stream, layer: int, padding: Padding, *, attention: bool) -> None:
        """Runs the layer on the stream; only its MLP if `attention` is false."""
        config, graph = self.config, stream.graph
        if attention:
            blocks = stream.read(graph.attention_readers(layer))
            if config.layer_norm:
                blocks = tuple(map(LayerNorm(config, self.backward, name="ln1"), blocks))
            seen = in_one_block(blocks)
            stream.write_heads(*Attention(config, self.backward, name="attn")(seen, padding))
        reader = graph.mlp_reader(layer)
        seen = in_one_block(stream.read(slice(reader, reader + 1)))[0]
        if config.layer_norm:
            seen = LayerNorm(config, self.backward, name="ln2")(seen)
        stream.write_mlp(*Mlp(config, self.backward, name="mlp")(seen))


def apply_transformer(
    module: Transformer, params: Params, tokens: Array | np.ndarray, stream: Stream
) -> Float[Array, "d_vocab_out pos batch"]:
    """Logits of a module with these weights; loaded weights may be NumPy arrays."""
    on_device = jax.tree.map(jnp.asarray, params)
    return cast(Array, module.apply({"params": on_device}, jnp.asarray(tokens), stream))
