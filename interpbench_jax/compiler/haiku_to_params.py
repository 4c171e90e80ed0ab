"""Tracr's Haiku weights -> our parameters."""

import numpy as np

from interpbench_jax.compiler.program_graph import PAD
from interpbench_jax.compiler.tracr_stages import TracrModel
from interpbench_jax.model import Params, TransformerConfig


def haiku_to_params(tracr: TracrModel) -> tuple[Params, TransformerConfig]:
    """Renames the compiled model's weights; values are unchanged.

    Tracr unembeds by picking the output's directions from the residual stream; that becomes a
    0/1 matrix `W_U`. Tokens and outputs are in the order of `tracr.tokens` and `tracr.output`.
    """
    weights, shape = tracr.assembled.params, tracr.assembled.model_config
    tokens = [direction.value for direction in tracr.tokens]
    rows = [tracr.assembled.input_encoder.encoding_map[token] for token in tokens]
    token_embed = np.asarray(weights["token_embed"]["embeddings"])[rows]
    pos_embed = np.asarray(weights["pos_embed"]["embeddings"])
    unembed = _unembedding(tracr)
    config = TransformerConfig(
        n_layers=shape.num_layers,
        n_heads=shape.num_heads,
        d_model=token_embed.shape[1],
        d_head=shape.key_size,
        d_mlp=shape.mlp_hidden_size,
        n_ctx=pos_embed.shape[0],
        d_vocab=token_embed.shape[0],
        d_vocab_out=unembed.shape[1],
        causal=shape.causal,
        pad=tokens.index(PAD),
        activation="relu",
    )
    params: dict[str, Params] = {
        "embed": {"W_E": token_embed},
        "pos_embed": {"W_pos": pos_embed},
        "unembed": {"W_U": unembed, "b_U": np.zeros(unembed.shape[1], np.float32)},
    }
    for layer in range(config.n_layers):
        params[f"blocks_{layer}"] = {
            "attn": _attention(weights, f"transformer/layer_{layer}/attn", config),
            "mlp": _mlp(weights, f"transformer/layer_{layer}/mlp"),
        }
    return params, config


def _attention(weights: Params, name: str, config: TransformerConfig) -> Params:
    heads = (config.n_heads, config.d_head)
    params = {}
    for ours, theirs in (("Q", "query"), ("K", "key"), ("V", "value")):
        linear = weights[f"{name}/{theirs}"]
        matrix = np.asarray(linear["w"]).reshape(config.d_model, *heads)
        params[f"W_{ours}"] = matrix.transpose(1, 0, 2)
        params[f"b_{ours}"] = np.asarray(linear["b"]).reshape(heads)
    linear = weights[f"{name}/linear"]
    params["W_O"] = np.asarray(linear["w"]).reshape(*heads, config.d_model)
    params["b_O"] = np.asarray(linear["b"])
    return params


def _mlp(weights: Params, name: str) -> Params:
    first, second = weights[f"{name}/linear_1"], weights[f"{name}/linear_2"]
    return {
        "W_in": np.asarray(first["w"]),
        "b_in": np.asarray(first["b"]),
        "W_out": np.asarray(second["w"]),
        "b_out": np.asarray(second["b"]),
    }


def _unembedding(tracr: TracrModel) -> np.ndarray:
    picked = [[direction == wanted for wanted in tracr.output] for direction in tracr.residual]
    return np.array(picked, np.float32)
