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

from interpbench_jax.model.attention import Padding
from interpbench_jax.model.config import TransformerConfig
from interpbench_jax.model.graph import Graph
from interpbench_jax.model.layers import Attention, Embed, LayerNorm, Mlp, PositionEmbed, Unembed
from interpbench_jax.model.patch import EdgePatch, NodePatch, Nudge, Patch
from interpbench_jax.model.stream import ResidualStream

Params = Mapping[str, Any]
"""Weights as nested dicts, in TransformerLens names and shapes: `params["blocks_0"]["attn"]["W_Q"]`
is `[head, d_model, d_head]`."""


def forward(
    params: Params,
    config: TransformerConfig,
    tokens: Int[Array | np.ndarray, "batch pos"],
    patch: Patch | None = None,
    *,
    nudge: Nudge | None = None,
) -> tuple[Float[Array, "batch pos d_vocab_out"], Float[Array, "batch pos writer d_model"]]:
    """Runs the model, under an intervention if one is given.

    Args:
      params: weights, as `init_params` makes them.
      config: the model's shape; static.
      tokens: token ids, BOS first; at most `config.n_ctx` positions.
      patch: which nodes or edges to replace, and by what; `None` is the model itself.
      nudge: what readers see on top; its gradient says what matters to whom.

    Returns:
      The logits, and what every writer put into the residual stream (patched where it was).

    Raises:
      ValueError: tokens or patch do not fit the model.
    """
    _check_shapes(config, tokens, patch, nudge)
    logits, writers = _apply(Transformer(config), params, tokens, patch, nudge)
    return logits.transpose(2, 1, 0), writers.transpose(3, 2, 0, 1)


def forward_from(
    params: Params,
    config: TransformerConfig,
    tokens: Int[Array | np.ndarray, "batch pos"],
    stage: int,
    written: Float[Array, "batch pos writer d_model"],
    patch: EdgePatch,
    *,
    only_there: bool = False,
) -> Float[Array, "batch pos d_vocab_out"]:
    """The logits under a patch that changes nothing before some stage: starts there.

    Args:
      params: weights.
      config: the model's shape; static.
      tokens: token ids.
      stage: where to start; static. Twice the layer for its attention, one more for its MLP, and
        the last stage is the unembedding; see `Graph.stages`.
      written: what every writer writes without a patch.
      patch: its mask is zero at all readers of earlier stages.
      only_there: whether it is zero at those of later stages, too, which then cost less.
    """
    _check_shapes(config, tokens, patch, None)
    before = Graph.of(config).writers_before(stage)
    started = written[:, :, :before].transpose(2, 3, 1, 0)
    bias = jnp.zeros(config.d_model)
    for layer in range((stage + 1) // 2):
        bias += params[f"blocks_{layer}"]["attn"]["b_O"]
    module = Transformer(config, start=stage, once=only_there)
    logits, _ = _apply(module, params, tokens, patch, None, (started, bias))
    return logits.transpose(2, 1, 0)


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
    _check_shapes(config, tokens, None, None)
    _, writers = _apply(Transformer(config, detached=True), params, tokens)
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
      start: the stage to start at, with what was written before it; 0 embeds the tokens.
      once: whether the patch is one of the readers of that stage alone.
    """

    config: TransformerConfig
    detached: bool = False
    start: int = 0
    once: bool = False

    @nn.compact
    def __call__(
        self,
        tokens: Int[Array, "batch pos"],
        patch: Patch | None = None,
        nudge: Nudge | None = None,
        started: tuple[Array, Array] | None = None,
    ) -> tuple[Float[Array, "d_vocab_out pos batch"], Float[Array, "writer d_model pos batch"]]:
        """Logits and what every writer wrote.

        Args:
          tokens: token ids.
          patch: the intervention.
          nudge: what readers see on top.
          started: what was written before the start, and the biases that belong to no writer.
        """
        config, graph = self.config, Graph.of(self.config)
        padding = None if config.pad is None else tokens.T == config.pad
        stream = ResidualStream(graph, len(tokens), patch, nudge, once=self.once)
        if started is None:
            embedded = Embed(config, name="embed")(tokens.T)
            embedded += PositionEmbed(config, name="pos_embed")(tokens.shape[1])[:, :, None]
            embedded = jax.lax.stop_gradient(embedded) if self.detached else embedded
            stream.write(embedded[None])
        else:
            stream.write(started[0])
            stream.add_constant(started[1])
        for layer in range(self.start // 2, config.n_layers):
            block = Block(config, self.detached, name=f"blocks_{layer}")
            block(stream, layer, padding, attention=2 * layer >= self.start)
        final = stream.read(slice(graph.n_readers - 1, graph.n_readers))[0]
        if config.layer_norm:
            final = LayerNorm(config, name="ln_final")(final)
        return Unembed(config, name="unembed")(final), stream.writers()


class Block(nn.Module):
    """One layer: attention reads and writes the stream, then the MLP does."""

    config: TransformerConfig
    detached: bool

    @nn.compact
    def __call__(
        self, stream: ResidualStream, layer: int, padding: Padding, *, attention: bool
    ) -> None:
        """Runs the layer on the stream, or its MLP only."""
        config, graph = self.config, stream.graph
        if attention:
            seen = stream.read(graph.attention_readers(layer))
            if config.layer_norm:
                seen = LayerNorm(config, name="ln1")(seen)
            heads, bias = Attention(config, name="attn")(seen, padding)
            stream.write(jax.lax.stop_gradient(heads) if self.detached else heads)
            stream.add_constant(bias)
        reader = graph.mlp_reader(layer)
        seen = stream.read(slice(reader, reader + 1))[0]
        if config.layer_norm:
            seen = LayerNorm(config, name="ln2")(seen)
        stream.write(Mlp(config, self.detached, name="mlp")(seen)[None])


def _apply(
    module: Transformer, params: Params, tokens: Array | np.ndarray, *given: Any
) -> tuple[Array, Array]:
    on_device = jax.tree.map(jnp.asarray, params)  # loaded weights are NumPy arrays
    said = module.apply({"params": on_device}, jnp.asarray(tokens), *given)
    return cast(tuple[Array, Array], said)


def _check_shapes(
    config: TransformerConfig,
    tokens: Array | np.ndarray,
    patch: Patch | None,
    nudge: Nudge | None,
) -> None:
    if tokens.ndim != 2:
        raise ValueError(f"tokens must be [batch, pos], got shape {tokens.shape}")
    n_batch, n_pos = tokens.shape
    if n_pos > config.n_ctx:
        raise ValueError(f"sequence of {n_pos} positions; the model takes at most {config.n_ctx}")
    graph = Graph.of(config)
    expected = (n_batch, n_pos, graph.n_writers, config.d_model)
    if nudge is not None:
        wanted = {"weights": graph.valid.shape, "difference": expected}
        for name, given in nudge._asdict().items():
            if given.shape != wanted[name]:
                raise ValueError(f"nudge {name} has shape {given.shape}, expected {wanted[name]}")
    if patch is None:
        return
    if not isinstance(patch, NodePatch | EdgePatch):
        raise ValueError(f"patch must be a NodePatch, an EdgePatch or None, got {type(patch)}")
    n_source = patch.source.shape[0]
    fits = n_source == n_batch or (isinstance(patch, NodePatch) and n_batch % n_source == 0)
    if not fits or patch.source.shape[1:] != expected[1:]:
        raise ValueError(f"patch source has shape {patch.source.shape}, expected {expected}")
    rows = (n_batch, n_pos, graph.n_writers)
    if isinstance(patch, NodePatch):
        allowed = [rows[2:], (rows[0], rows[2]), rows]
    else:
        allowed = [(graph.n_writers, graph.n_readers), (graph.n_writers, 1)]
    if patch.mask.shape not in allowed:
        raise ValueError(f"patch mask has shape {patch.mask.shape}, expected one of {allowed}")
