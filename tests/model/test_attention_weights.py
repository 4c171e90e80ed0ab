"""Attention weights are those used by the heads of a run."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from interpbench_jax.model import TransformerConfig, attention_weights, forward, init_params

SMALL = TransformerConfig(
    n_layers=2, n_heads=3, d_model=12, d_head=4, d_mlp=16, n_ctx=6, d_vocab=7, d_vocab_out=3
)
TOKENS = jax.random.randint(jax.random.key(1), (5, 6), 1, 7).at[1:3, 4:].set(0)


@pytest.mark.parametrize(
    "config",
    [
        SMALL,
        replace(SMALL, causal=True, pad=0),
        replace(SMALL, causal=True, layer_norm=True, activation="gelu_tanh"),
    ],
)
def test_weighted_values_are_what_heads_write(config: TransformerConfig) -> None:
    params = jax.tree.map(
        lambda x: x + 0.3 * jax.random.normal(jax.random.key(x.size), x.shape),
        init_params(config, jax.random.key(0)),
    )
    weights = attention_weights(params, config, TOKENS)
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-6)
    _, written = forward(params, config, TOKENS)
    constant = params["blocks_0"]["attn"]["b_O"]  # not part of any head's output
    for layer, n_before in ((0, 1), (1, 5)):
        block = params[f"blocks_{layer}"]
        seen = written[:, :, :n_before].sum(2) + layer * constant[None, None]
        if config.layer_norm:
            seen = seen - seen.mean(-1, keepdims=True)
            seen = seen / jnp.sqrt((seen**2).mean(-1, keepdims=True) + config.layer_norm_eps)
            seen = seen * block["ln1"]["w"][None, None] + block["ln1"]["b"][None, None]
        values = jnp.einsum("bkd,hde->bhke", seen, block["attn"]["W_V"])
        values = values + block["attn"]["b_V"][None, :, None]
        mixed = jnp.einsum("bhqk,bhke,hed->bqhd", weights[:, layer], values, block["attn"]["W_O"])
        heads = written[:, :, n_before : n_before + config.n_heads]
        np.testing.assert_allclose(mixed, heads, atol=1e-5)


def test_no_attention_ahead_or_to_padding() -> None:
    config = replace(SMALL, causal=True, pad=0)
    weights = attention_weights(init_params(config, jax.random.key(0)), config, TOKENS)
    assert (weights[:, :, :, *np.triu_indices(6, 1)] == 0).all()
    assert (weights[1:3, ..., 4:] == 0).all()
