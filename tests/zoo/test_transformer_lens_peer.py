"""Random models of TransformerLens and ours have the same outputs, of all writers, too.

Needs torch and TransformerLens: 3 for `HookedTransformer`, 4 for `NativeModel`.
"""

import numpy as np
import pytest

from interpbench_jax.model import Graph, forward
from interpbench_jax.zoo import load_transformer_lens, save_transformer_lens
from tests.peers import peer

torch = peer("torch")
transformer_lens = peer("transformer_lens")
pytestmark = [
    pytest.mark.filterwarnings("default"),  # other packages warn
    pytest.mark.filterwarnings("error:::interpbench_jax"),
]
hooked = "HookedTransformer" in dir(transformer_lens)

SHAPES = {
    "plain": ((1, 2, 6, 3, 8), None, "gelu", "causal"),
    "deep": ((3, 4, 12, 5, 20), None, "relu", "bidirectional"),
    "normed": ((2, 3, 12, 4, 16), "LN", "gelu_new", "causal"),
    "folded": ((2, 4, 16, 4, 24), "LNPre", "gelu", "causal"),
    "one head": ((2, 1, 8, 8, 8), "LN", "relu", "causal"),
}
OURS = {"gelu": "gelu", "gelu_new": "gelu_tanh", "relu": "relu"}


def their_config(kind, sizes, normalization, activation, direction):
    names = ("n_layers", "n_heads", "d_model", "d_head", "d_mlp")
    return kind(
        **dict(zip(names, sizes, strict=True)),
        **{"n_ctx": 7, "d_vocab": 9, "d_vocab_out": 5, "act_fn": activation, "seed": 0},
        **{"normalization_type": normalization, "attention_dir": direction},
    )


def given(sizes, normalization, activation, direction):
    return {
        "causal": direction == "causal",
        "normalization": normalization,
        "activation": OURS[activation],
        "n_heads": sizes[1],
    }


def make_random(model):
    torch.manual_seed(0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            torch.nn.init.normal_(weight, std=0.3)
            if "ln" in name and name.endswith(("w", "weight")):
                weight += 1


def check_equal(logits, cache, ours, written, config):
    np.testing.assert_allclose(ours, logits, atol=1e-4, rtol=0)
    writers = Graph.of(config).writers
    for index, writer in enumerate(writers):
        theirs = cache[writer].detach().numpy()
        np.testing.assert_allclose(written[:, :, index], theirs, atol=1e-4, rtol=0, err_msg=writer)


@pytest.mark.skipif(not hooked, reason="TransformerLens 4 has no HookedTransformer")
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("suffix", [".pt", ".npz", ".safetensors"])
def test_hooked_transformer(shape, suffix, tmp_path):
    cfg = their_config(transformer_lens.HookedTransformerConfig, *SHAPES[shape])
    model = transformer_lens.HookedTransformer(cfg)
    make_random(model)
    file = tmp_path / f"model{suffix}"
    state = model.state_dict()
    if suffix == ".pt":
        torch.save(state, file)
    else:
        from interpbench_jax.zoo.weight_files import write_weights

        weights = {name: w.numpy() for name, w in state.items() if ".attn.IGNORE" not in name}
        write_weights({n: w for n, w in weights.items() if not n.endswith("mask")}, file)
    params, config = load_transformer_lens(file, **given(*SHAPES[shape]))
    tokens = torch.randint(0, 9, (4, 7))
    model.set_use_attn_result(True)
    logits, cache = model.run_with_cache(tokens)
    theirs = {"input": cache["hook_embed"] + cache["hook_pos_embed"]}
    for layer in range(config.n_layers):
        heads = cache[f"blocks.{layer}.attn.hook_result"]
        theirs |= {f"a{layer}.h{head}": heads[:, :, head] for head in range(config.n_heads)}
        theirs[f"m{layer}"] = cache[f"blocks.{layer}.hook_mlp_out"]
    ours, written = forward(params, config, tokens.numpy())
    check_equal(logits.detach().numpy(), theirs, ours, written, config)

    save_transformer_lens(params, back := tmp_path / "back.pt", folded=shape == "folded")
    fresh = transformer_lens.HookedTransformer(cfg)
    missing = fresh.load_state_dict(torch.load(back, weights_only=True), strict=False)
    assert not missing.unexpected_keys
    assert all(name.endswith(("attn.mask", "attn.IGNORE")) for name in missing.missing_keys)
    torch.testing.assert_close(fresh(tokens), logits, atol=1e-5, rtol=0)


@pytest.mark.skipif(hooked, reason="TransformerLens 3 has no NativeModel")
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("names", ["native", "bridge"])
def test_native_model(shape, names, tmp_path):
    from transformer_lens.model_bridge.sources.native.model import NativeModel

    cfg = their_config(transformer_lens.TransformerBridgeConfig, *SHAPES[shape])
    if names == "native":
        model = NativeModel(cfg)
    else:
        model = transformer_lens.TransformerBridge.boot_native(cfg)
    make_random(model)
    file = tmp_path / "model.pt"
    torch.save(model.state_dict(), file)
    params, config = load_transformer_lens(file, **given(*SHAPES[shape]))
    tokens = torch.randint(0, 9, (4, 7))
    logits = model(tokens).detach()
    ours, written = forward(params, config, tokens.numpy())
    np.testing.assert_allclose(ours, logits.numpy(), atol=1e-4, rtol=0)
    if names == "bridge":
        _, cache = model.run_with_cache(tokens)
        theirs = {"input": cache["hook_embed"] + cache["hook_pos_embed"]}
        for layer in range(config.n_layers):
            z = cache[f"blocks.{layer}.attn.hook_z"].reshape(4, 7, config.n_heads, -1)
            outputs = torch.as_tensor(np.asarray(params[f"blocks_{layer}"]["attn"]["W_O"]))
            heads = torch.einsum("bphe,hed->bphd", z, outputs)
            theirs |= {f"a{layer}.h{head}": heads[:, :, head] for head in range(config.n_heads)}
            theirs[f"m{layer}"] = cache[f"blocks.{layer}.hook_mlp_out"]
        check_equal(logits.numpy(), theirs, ours, written, config)

    save_transformer_lens(params, back := tmp_path / "back.pt", names, folded=shape == "folded")
    make_random(model)
    model.load_state_dict(torch.load(back, weights_only=True))
    torch.testing.assert_close(model(tokens).detach(), logits, atol=0, rtol=0)


def test_transformer_lens_reads_our_initial_weights(tmp_path, variants, make_params):
    """torch reads a file written without torch."""
    params = make_params(variants["causal"])
    save_transformer_lens(params, file := tmp_path / "ours.pt")
    state = torch.load(file, weights_only=True)
    assert state["blocks.0.attn.W_Q"].dtype == torch.float32
    np.testing.assert_array_equal(state["blocks.1.mlp.W_in"], params["blocks_1"]["mlp"]["W_in"])
