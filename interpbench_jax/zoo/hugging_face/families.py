"""Families of models: from a `config.json` to the decoder's config and the names of its weights.

The config has everything that determines the computation. Fields that the decoder does not support
are rejected by name, and so are unknown fields.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from interpbench_jax.model.config import check_graph_size
from interpbench_jax.model.decoders import Attention, DecoderConfig
from interpbench_jax.model.decoders.config import DecoderActivation
from interpbench_jax.zoo.hugging_face.rotary import read_turns, turns
from interpbench_jax.zoo.hugging_face.settings import Settings
from interpbench_jax.zoo.hugging_face.weights import (
    Table,
    gpt2_weights,
    gpt_neox_weights,
    llama_weights,
)

_ACTIVATIONS: Mapping[str, DecoderActivation] = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}


class Read(NamedTuple):
    """A family's reading of a `config.json`.

    Attributes:
      config: the decoder's config.
      weights: the names of the weights in the state dict.
      prefix: an optional prefix of names, present in models with a head on top.
      aliases: alternative names of weights in some versions, mapped to the usual names.
    """

    config: DecoderConfig
    weights: Table
    prefix: str
    aliases: Mapping[str, str] = {}


def read_gpt2(s: Settings) -> Read:
    """GPT-2, DistilGPT-2 and other models of this architecture."""
    for field, value in (
        ("scale_attn_weights", True),
        ("scale_attn_by_inverse_layer_idx", False),
        ("add_cross_attention", False),
        ("tie_word_embeddings", True),
    ):
        s.require([value], field)
    width, n_heads = s.integer("n_embd", "hidden_size"), s.integer("n_head", "num_attention_heads")
    config = DecoderConfig(
        n_layers=s.integer("n_layer", "num_hidden_layers"),
        n_heads=n_heads,
        n_kv_heads=n_heads,
        d_model=width,
        d_head=_shared("n_embd", width, n_heads),
        d_mlp=4 * width if s.get("n_inner", default=None) is None else s.integer("n_inner"),
        n_ctx=s.integer("n_positions", "max_position_embeddings"),
        d_vocab=s.integer("vocab_size"),
        norm="layer_norm",
        norm_eps=s.number("layer_norm_epsilon", default=1e-5),
        activation=s.choice(_ACTIVATIONS, "activation_function", default="gelu_new"),
        learned_positions=True,
        tied=True,
    )
    return Read(config, gpt2_weights(config), "transformer.")


def read_gpt_neox(s: Settings) -> Read:
    """GPT-NeoX and Pythia."""
    width, n_heads = s.integer("hidden_size"), s.integer("num_attention_heads")
    d_head = _shared("hidden_size", width, n_heads)
    config = DecoderConfig(
        n_layers=_n_layers(s),
        n_heads=n_heads,
        n_kv_heads=n_heads,
        d_model=width,
        d_head=d_head,
        d_mlp=s.integer("intermediate_size"),
        n_ctx=s.integer("max_position_embeddings"),
        d_vocab=s.integer("vocab_size"),
        norm="layer_norm",
        norm_eps=s.number("layer_norm_eps", default=1e-5),
        activation=s.choice(_ACTIVATIONS, "hidden_act", default="gelu"),
        parallel=s.flag("use_parallel_residual", default=True),
        tied=s.flag("tie_word_embeddings", default=False),
        attention=(Attention(rotary=read_turns(s, d_head, share=0.25)),),
    )
    weights = gpt_neox_weights(config, attention_bias=s.flag("attention_bias", default=True))
    return Read(config, weights, "gpt_neox.", {"lm_head.weight": "embed_out.weight"})


def read_llama(s: Settings) -> Read:
    """Llama 1 to 3."""
    s.require([False], "rope_interleaved")
    config = _llama_config(s, attention=(Attention(rotary=read_turns(s, _d_head(s))),))
    bias = s.flag("attention_bias", default=False)
    mlp_bias = s.flag("mlp_bias", default=False)
    weights = llama_weights(config, input_bias=bias, output_bias=bias, mlp_bias=mlp_bias)
    return Read(config, weights, "model.")


def read_mistral(s: Settings) -> Read:
    """Mistral: Llama with sliding windows."""
    window = None if s.get("sliding_window", default=None) is None else s.integer("sliding_window")
    attention = Attention(window, read_turns(s, _d_head(s)))
    config = _llama_config(s, attention=(attention,))
    return Read(config, llama_weights(config), "model.")


def read_qwen2(s: Settings) -> Read:
    """Qwen 1.5, 2 and 2.5: Llama with biases of queries, keys and values."""
    config = _llama_config(s, attention=_qwen_attention(s))
    return Read(config, llama_weights(config, input_bias=True), "model.")


def read_qwen3(s: Settings) -> Read:
    """Qwen 3: Llama with normalised queries and keys."""
    config = _llama_config(s, attention=_qwen_attention(s), query_norm=True)
    bias = s.flag("attention_bias", default=False)
    return Read(config, llama_weights(config, input_bias=bias, output_bias=bias), "model.")


def read_gemma(s: Settings) -> Read:
    """Gemma 1."""
    s.require([None, False], "use_bidirectional_attention")
    s.require([False], "attention_bias")
    attention = Attention(rotary=read_turns(s, _d_head(s)))
    config = _llama_config(s, attention=(attention,), **_of_gemma(s))
    return Read(config, llama_weights(config, scales_from_one=True), "model.")


def read_gemma2(s: Settings) -> Read:
    """Gemma 2: a window in every other layer, normalised outputs, capped scores."""
    rotary, n_layers = read_turns(s, _d_head(s)), _n_layers(s)
    kinds = ("sliding_attention", "full_attention")
    usual = [kinds[layer % 2] for layer in range(n_layers)]
    window = s.integer("sliding_window", "sliding_window_size", default=4096)
    by_kind = {kinds[0]: Attention(window, rotary), kinds[1]: Attention(None, rotary)}
    return _read_later_gemma(s, _by_layer(s, by_kind, usual), query_norm=False)


def read_gemma3(s: Settings) -> Read:
    """Gemma 3, text only: five of six layers have a window and another rotary base."""
    n_layers, kinds = _n_layers(s), ("sliding_attention", "full_attention")
    every = s.integer("_sliding_window_pattern", "sliding_window_pattern", default=6)
    usual = [kinds[(layer + 1) % every == 0] for layer in range(n_layers)]
    bases = (
        s.number("rope_local_base_freq", default=1e4),
        s.number("rope_theta", default=1e6),
    )
    both, old = s.part("rope_parameters"), s.part("rope_scaling")
    scalings = (None, old) if both is None else tuple(both.part(kind) for kind in kinds)
    if both is not None:
        both.check_all_known(())
    windows = (s.integer("sliding_window", default=4096), None)
    by_kind = {
        kind: Attention(window, turns(scaling, _d_head(s), base=base))
        for kind, window, scaling, base in zip(kinds, windows, scalings, bases, strict=True)
    }
    return _read_later_gemma(s, _by_layer(s, by_kind, usual), query_norm=True)


FAMILIES: Mapping[str, Callable[[Settings], Read]] = {
    "gpt2": read_gpt2,
    "gpt_neox": read_gpt_neox,
    "llama": read_llama,
    "mistral": read_mistral,
    "qwen2": read_qwen2,
    "qwen3": read_qwen3,
    "gemma": read_gemma,
    "gemma2": read_gemma2,
    "gemma3_text": read_gemma3,
}
"""Readers of `config.json`, by `model_type`."""


def _llama_config(
    s: Settings, *, attention: tuple[Attention, ...], **options: Any
) -> DecoderConfig:
    n_heads, tied = s.integer("num_attention_heads"), options.pop("tied", False)
    # Gemma's files have both; the model was trained with the second one.
    old, new = "hidden_act", "hidden_activation"
    activation = old if s.get(new, default=None) is None else new
    s.get(old, default=None)
    n_kv_heads = s.get("num_key_value_heads", default=None)
    return DecoderConfig(
        n_layers=_n_layers(s),
        n_heads=n_heads,
        n_kv_heads=n_heads if n_kv_heads is None else s.integer("num_key_value_heads"),
        d_model=s.integer("hidden_size"),
        d_head=_d_head(s),
        d_mlp=s.integer("intermediate_size"),
        n_ctx=s.integer("max_position_embeddings"),
        d_vocab=s.integer("vocab_size"),
        norm="rms_norm",
        norm_eps=s.number("rms_norm_eps", default=1e-6),
        activation=s.choice(_ACTIVATIONS, activation, default="silu"),
        gated=True,
        tied=s.flag("tie_word_embeddings", default=tied),
        attention=attention,
        **options,
    )


def _read_later_gemma(s: Settings, attention: tuple[Attention, ...], *, query_norm: bool) -> Read:
    s.require([None, False], "use_bidirectional_attention")
    s.require([False], "attention_bias")
    config = _llama_config(
        s,
        attention=attention,
        post_norm=True,
        query_norm=query_norm,
        attention_scale=s.number("query_pre_attn_scalar", default=256) ** -0.5,
        attention_cap=s.optional("attn_logit_softcapping"),
        logit_cap=s.optional("final_logit_softcapping"),
        **_of_gemma(s),
    )
    return Read(config, llama_weights(config, scales_from_one=True), "model.")


def _of_gemma(s: Settings) -> dict[str, Any]:
    return {"tied": True, "embedding_scale": math.sqrt(s.integer("hidden_size"))}


def _qwen_attention(s: Settings) -> tuple[Attention, ...]:
    """Attention of Qwen: from some layer up, layers may have a window."""
    s.require([False], "use_mrope")
    rotary, n_layers = read_turns(s, _d_head(s)), _n_layers(s)
    kinds = ("sliding_attention", "full_attention")
    by_kind, usual = {kinds[1]: Attention(None, rotary)}, [kinds[1]] * n_layers
    windowed = s.flag("use_sliding_window", default=False)
    window, first = s.get("sliding_window", default=4096), s.get("max_window_layers", default=28)
    if windowed and window is not None:
        by_kind[kinds[0]] = Attention(s.integer("sliding_window", default=4096), rotary)
        if type(first) is int:
            usual = [kinds[layer < first] for layer in range(n_layers)]
    return _by_layer(s, by_kind, usual)


def _by_layer(
    s: Settings, kinds: Mapping[str, Attention], usual: list[str]
) -> tuple[Attention, ...]:
    """The kind of each layer, from `layer_types` or by default."""
    found = s.get("layer_types", default=None)
    found = usual if found is None else found
    if not isinstance(found, list) or len(found) != len(usual):
        raise ValueError(f"layer_types must name a kind for each of {len(usual)} layers")
    for kind in found:
        if not isinstance(kind, str) or kind not in kinds:
            raise ValueError(f"layer_types must be of {', '.join(kinds)}, got {kind!r}")
    return tuple(kinds[kind] for kind in found)


def _n_layers(s: Settings) -> int:
    """The number of layers, checked to be small enough for per-layer data."""
    n_layers = s.integer("num_hidden_layers")
    check_graph_size(n_layers, 1)
    return n_layers


def _d_head(s: Settings) -> int:
    if s.get("head_dim", default=None) is not None:
        return s.integer("head_dim")
    return _shared("hidden_size", s.integer("hidden_size"), s.integer("num_attention_heads"))


def _shared(name: str, width: int, n_heads: int) -> int:
    """The width of each head."""
    if width % n_heads:
        raise ValueError(f"{name} must be a multiple of {n_heads} heads, got {width}")
    return width // n_heads
