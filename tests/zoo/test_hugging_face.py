"""Decoders in the format of Hugging Face give the outputs of `transformers`, patched or not."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from interpbench_jax.model import EdgePatch
from interpbench_jax.zoo import from_hugging_face, load_hugging_face
from interpbench_jax.zoo.hugging_face.families import FAMILIES
from interpbench_jax.zoo.hugging_face.settings import Settings
from tests.golden_files import GOLDEN

FOLDERS = sorted(folder.parent.name for folder in (GOLDEN / "decoders").glob("*/config.json"))
# Together, these have every option except normalised queries.
SPREAD = ("gpt2", "gpt_neox", "llama", "gemma2")


@pytest.fixture(
    scope="module",
    params=[pytest.param(f, marks=[] if f in SPREAD else pytest.mark.slow) for f in FOLDERS],
)
def golden(request):
    folder = GOLDEN / "decoders" / request.param
    with np.load(folder / "expected.npz") as expected:
        return *load_hugging_face(folder), dict(expected)


def test_logits_and_what_is_written(golden):
    network, params, expected = golden
    logits, written = network.run(params, expected["clean"])
    np.testing.assert_allclose(logits, expected["logits"], atol=1e-4, rtol=0)
    for index, writer in enumerate(network.graph.writers):
        theirs = expected[f"written/{writer}"]
        np.testing.assert_allclose(written[:, :, index], theirs, atol=1e-4, rtol=0, err_msg=writer)


def test_single_edges_patched(golden):
    """Each key and value reader of a head alone, even if heads share the weights."""
    network, params, expected = golden
    graph = network.graph
    _, source = network.run(params, expected["corrupted"])
    masks = np.zeros((len(expected["edges"]), *graph.valid.shape), np.float32)
    for mask, edge in zip(masks, expected["edges"], strict=True):
        writer, reader = edge.split("->")
        mask[graph.writer_index(writer), graph.reader_index(reader)] = 1
    logits = jax.vmap(
        lambda mask: network.run(params, expected["clean"], EdgePatch(mask, source))[0]
    )(jnp.asarray(masks))
    for edge, ours, theirs in zip(expected["edges"], logits, expected["patched"], strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4, rtol=0, err_msg=edge)


LLAMA_LIKE = {
    **{
        "model_type": "llama",
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "torch_dtype": "bfloat16",
    },
    **{"attention_dropout": 0.0, "bos_token_id": 1, "use_cache": True},
    **{"initializer_range": 0.02, "max_position_embeddings": 131072, "pretraining_tp": 1},
}
GEMMA_LIKE = {
    **{"hidden_act": "gelu", "hidden_activation": "gelu_pytorch_tanh", "head_dim": 256},
    **{"max_position_embeddings": 8192, "num_key_value_heads": 1, "num_attention_heads": 8},
    **{"vocab_size": 256000, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "use_cache": True},
}
# Fields as in files of published models, which older versions wrote.
PUBLISHED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "GPT-2": (
        {
            **{"model_type": "gpt2", "activation_function": "gelu_new", "attn_pdrop": 0.1},
            **{"n_ctx": 1024, "n_embd": 768, "n_head": 12, "n_layer": 12, "n_positions": 1024},
            **{"summary_type": "cls_index", "vocab_size": 50257, "layer_norm_epsilon": 1e-5},
            "task_specific_params": {"text-generation": {"max_length": 50}},
        },
        {"d_mlp": 3072, "tied": True, "learned_positions": True},
    ),
    "Pythia 70M": (
        {
            **{"model_type": "gpt_neox", "hidden_act": "gelu", "hidden_size": 512},
            **{"intermediate_size": 2048, "layer_norm_eps": 1e-5, "max_position_embeddings": 2048},
            **{"num_attention_heads": 8, "num_hidden_layers": 6, "rotary_emb_base": 10000},
            **{"rotary_pct": 0.25, "tie_word_embeddings": False, "use_parallel_residual": True},
            "vocab_size": 50304,
        },
        {"parallel": True, "d_head": 64, "tied": False},
    ),
    "Llama 3.1 8B": (
        LLAMA_LIKE
        | {
            **{"hidden_size": 4096, "intermediate_size": 14336, "num_attention_heads": 32},
            **{"num_hidden_layers": 32, "num_key_value_heads": 8, "vocab_size": 128256},
            **{"rope_theta": 500000.0, "mlp_bias": False, "attention_bias": False},
            "tie_word_embeddings": False,
            "rope_scaling": {
                **{"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0},
                **{"original_max_position_embeddings": 8192, "rope_type": "llama3"},
            },
        },
        {"n_kv_heads": 8, "d_head": 128, "norm": "rms_norm"},
    ),
    "SmolLM 135M": (
        LLAMA_LIKE
        | {
            **{"hidden_size": 576, "intermediate_size": 1536, "num_attention_heads": 9},
            **{"num_hidden_layers": 30, "num_key_value_heads": 3, "vocab_size": 49152},
            **{"is_llama_config": True, "rope_interleaved": False, "rope_scaling": None},
            "tie_word_embeddings": True,
        },
        {"n_kv_heads": 3, "tied": True},
    ),
    "Qwen 2.5 0.5B": (
        LLAMA_LIKE
        | {
            **{"model_type": "qwen2", "hidden_size": 896, "intermediate_size": 4864},
            **{"max_window_layers": 24, "num_attention_heads": 14, "num_hidden_layers": 24},
            **{"num_key_value_heads": 2, "rope_theta": 1000000.0, "sliding_window": 32768},
            **{"tie_word_embeddings": True, "use_mrope": False, "use_sliding_window": False},
            "vocab_size": 151936,
        },
        {"n_kv_heads": 2, "d_head": 64},
    ),
    "Gemma 2B": (
        GEMMA_LIKE
        | {
            **{"model_type": "gemma", "hidden_size": 2048, "intermediate_size": 16384},
            **{"num_hidden_layers": 18, "rope_scaling": None},
        },
        {"activation": "gelu_tanh", "embedding_scale": 2048**0.5, "tied": True},
    ),
    "Gemma 2 2B": (
        GEMMA_LIKE
        | {
            **{"model_type": "gemma2", "hidden_size": 2304, "intermediate_size": 9216},
            **{"num_hidden_layers": 26, "num_key_value_heads": 4, "query_pre_attn_scalar": 256},
            **{"attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0},
            **{"sliding_window": 4096, "cache_implementation": "hybrid"},
        },
        {"attention_cap": 50.0, "logit_cap": 30.0, "attention_scale": 1 / 16, "post_norm": True},
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_settings_of_published_models(name):
    fields, expected = PUBLISHED[name]
    settings = Settings(fields, "config.json")
    config = FAMILIES[settings.get("model_type")](settings).config
    settings.check_all_known(())
    assert {option: getattr(config, option) for option in expected} == expected
    with pytest.raises(ValueError, match="is missing; expected shape"):
        from_hugging_face({}, fields)


def test_windows_alternate_by_default():
    fields, _ = PUBLISHED["Gemma 2 2B"]
    config = FAMILIES["gemma2"](Settings(fields, "config.json")).config
    assert [layer.window for layer in config.attention] == [4096, None] * 13
