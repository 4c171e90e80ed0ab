"""More shapes of the families than in `tests/golden`, compared with `transformers`.

Needs torch and `transformers`; expected values come from `tests/golden/decoders/make.py`.
"""

import importlib
import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from interpbench_jax.model import EdgePatch
from interpbench_jax.zoo import load_hugging_face
from tests.golden_files import GOLDEN
from tests.peers import peer

torch = peer("torch", "transformers")
pytestmark = [
    pytest.mark.filterwarnings("default"),  # other packages warn
    pytest.mark.filterwarnings("error:::interpbench_jax"),
]

sys.path.insert(0, str(GOLDEN / "decoders"))
make = importlib.import_module("make")
sys.path.pop(0)

LINEAR = {"rope_type": "linear", "factor": 3.0, "rope_theta": 500.0}
WINDOWED = {"layer_types": make.KINDS, "sliding_window": 3, "use_sliding_window": True}
BY_KIND = {
    "sliding_attention": {"rope_type": "default", "rope_theta": 50.0},
    "full_attention": LINEAR,
}
# Changes to a model in `tests/golden`, and the way it is saved.
VARIANTS = {
    "gpt2 relu": ("gpt2", {"activation_function": "relu", "n_inner": 20}, {}),
    "gpt2 in parts": ("gpt2", {}, {"max_shard_size": 4000}),
    "gpt_neox in turn": ("gpt_neox", {"use_parallel_residual": False}, {}),
    "gpt_neox without biases": ("gpt_neox", {"attention_bias": False, "rotary_pct": 1.0}, {}),
    "gpt_neox tied": ("gpt_neox", {"tie_word_embeddings": True}, {}),
    "llama linear": ("llama", {"rope_parameters": LINEAR, "mlp_bias": True}, {}),
    "llama tied": ("llama", {"tie_word_embeddings": True, "num_key_value_heads": 4}, {}),
    "llama one kv": ("llama", {"num_key_value_heads": 1, "hidden_act": "gelu"}, {}),
    "mistral without window": ("mistral", {"sliding_window": None}, {}),
    "qwen2 windows": ("qwen2", WINDOWED, {}),
    "qwen2 last windows": (
        "qwen2",
        {"sliding_window": 3, "use_sliding_window": True, "max_window_layers": 1},
        {},
    ),
    "qwen3 biases": ("qwen3", {"attention_bias": True}, {}),
    "gemma untied": ("gemma", {"tie_word_embeddings": False}, {}),
    "gemma2 without caps": (
        "gemma2",
        {"attn_logit_softcapping": None, "final_logit_softcapping": None},
        {},
    ),
    "gemma3 scaled": ("gemma3", {"rope_parameters": BY_KIND}, {}),
}


@pytest.fixture(scope="module", params=VARIANTS)
def variant(request, tmp_path_factory):
    name, changes, saving = VARIANTS[request.param]
    family, sizes = make.MODELS[name]
    model, folder = make.make_model(family, sizes | changes), tmp_path_factory.mktemp("model")
    model.save_pretrained(folder, **saving)
    return folder, make.expectations(model, make.EDGES)


def test_logits_writers_and_patched_edges(variant):
    folder, expected = variant
    network, params = load_hugging_face(folder)
    graph = network.graph
    logits, written = network.run(params, expected["clean"])
    np.testing.assert_allclose(logits, expected["logits"], atol=1e-4, rtol=0)
    for index, writer in enumerate(graph.writers):
        theirs = expected[f"written/{writer}"]
        np.testing.assert_allclose(written[:, :, index], theirs, atol=1e-4, rtol=0, err_msg=writer)
    _, source = network.run(params, expected["corrupted"])
    masks = np.zeros((len(expected["edges"]), *graph.valid.shape), np.float32)
    for mask, edge in zip(masks, expected["edges"], strict=True):
        writer, reader = edge.split("->")
        mask[graph.writer_index(writer), graph.reader_index(reader)] = 1
    patched = jax.vmap(
        lambda mask: network.run(params, expected["clean"], EdgePatch(mask, source))[0]
    )(jnp.asarray(masks))
    for edge, ours, theirs in zip(expected["edges"], patched, expected["patched"], strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4, rtol=0, err_msg=edge)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["bfloat16", "float16"])
def test_half_precision(kind, tmp_path):
    """Most are published in it; `transformers` runs them in float32, like ours."""
    model = make.make_model(*make.MODELS["llama"])
    model = model.to(getattr(torch, kind))
    model.save_pretrained(tmp_path)
    tokens = torch.randint(0, 23, (2, 9))
    network, params = load_hugging_face(tmp_path)
    logits, _ = network.run(params, tokens.numpy())
    whole = type(model).from_pretrained(tmp_path, dtype=torch.float32)
    np.testing.assert_allclose(logits, whole(tokens).logits, atol=1e-4, rtol=0)


@torch.no_grad()
def test_files_of_torch_and_settings_of_old_versions(tmp_path):
    """`pytorch_model.bin`, and fields as written by `transformers` 4."""
    model = make.make_model(*make.MODELS["gpt_neox"])
    model.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    buffers = {"gpt_neox.layers.0.attention.rotary_emb.inv_freq": torch.ones(1)}
    torch.save(dict(model.state_dict()) | buffers, tmp_path / "pytorch_model.bin")
    config = json.loads((tmp_path / "config.json").read_text())
    del config["rope_parameters"]
    config |= {"rotary_pct": 0.5, "rotary_emb_base": 10000}
    (tmp_path / "config.json").write_text(json.dumps(config))
    tokens = torch.randint(0, 23, (2, 9))
    network, params = load_hugging_face(tmp_path)
    logits, _ = network.run(params, tokens.numpy())
    np.testing.assert_allclose(logits, model(tokens).logits, atol=1e-4, rtol=0)
