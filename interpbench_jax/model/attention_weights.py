"""The attention patterns of a transformer."""

import math
from typing import cast

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from interpbench_jax.model.attention import attention_scores, attention_softmax
from interpbench_jax.model.config import TransformerConfig
from interpbench_jax.model.forward import forward
from interpbench_jax.model.graph import Graph
from interpbench_jax.model.layers import LayerNorm
from interpbench_jax.model.transformer import Params


def attention_weights(
    params: Params, config: TransformerConfig, tokens: Int[Array, "batch pos"]
) -> Float[Array, "batch layer head query key"]:
    """The attention weights of every head, unpatched; each row sums to one over keys.

    The residual stream before a layer is the sum of the earlier writers' outputs, so no hooks are
    needed. All outputs are in memory at once: use it on few inputs.

    Args:
      params: weights.
      config: the model's shape.
      tokens: token ids.

    Raises:
      ValueError: as `forward`.
    """
    _, written = forward(params, config, tokens)
    graph = Graph.of(config)
    padding = None if config.pad is None else jnp.asarray(tokens).T == config.pad
    constant = jnp.zeros(config.d_model)
    found = []
    for layer in range(config.n_layers):
        block = params[f"blocks_{layer}"]
        n_before = graph.writer_index(f"a{layer}.h0")
        seen = written[:, :, :n_before].sum(2) + constant[None, None]
        if config.layer_norm:
            norm = LayerNorm(config)
            seen = cast(Array, norm.apply({"params": block["ln1"]}, seen.T)).T
        attn = block["attn"]
        q, k = (
            jnp.einsum("bpd,hde->hepb", seen, jnp.asarray(attn[f"W_{name}"]), precision="highest")
            + jnp.asarray(attn[f"b_{name}"])[:, :, None, None]
            for name in "QK"
        )
        scores = attention_scores(q, k) / math.sqrt(config.d_head)
        found.append(attention_softmax(scores, config.causal, padding).transpose(3, 0, 1, 2))
        constant = constant + attn["b_O"]  # belongs to no head
    return jnp.stack(found, axis=1)
