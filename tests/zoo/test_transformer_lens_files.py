"""Weights are unchanged by files of every format, under every naming."""

from pathlib import Path

import jax
import numpy as np
import pytest
from flax.traverse_util import unflatten_dict

from interpbench_jax.model import TransformerConfig, weight_shapes
from interpbench_jax.zoo import (
    from_transformer_lens,
    load_transformer_lens,
    save_transformer_lens,
    to_transformer_lens,
)
from interpbench_jax.zoo.weight_files import read_weights, write_weights

IN_BLOCK = (
    *(f"attn.{x}.{kind}" for x in "qkvo" for kind in ("weight", "bias")),
    *(f"ln{i}.{kind}" for i in (1, 2) for kind in ("weight", "bias")),
)
# As a `NativeModel` and a `TransformerBridge` of TransformerLens 4.3.0 list them.
NATIVE = {
    *("tok_embed.weight", "pos.weight", "ln_out.weight", "ln_out.bias", "head.weight"),
    *(f"layers.{layer}.{name}" for layer in (0, 1) for name in IN_BLOCK),
    *(
        f"layers.{layer}.mlp.fc_{x}.{kind}"
        for layer in (0, 1)
        for x in ("in", "out")
        for kind in ("weight", "bias")
    ),
}
BRIDGE = {
    *("embed.weight", "pos_embed.weight", "ln_final.weight", "ln_final.bias"),
    *("unembed.weight", "unembed.bias"),
    *(f"blocks.{layer}.{name}" for layer in (0, 1) for name in IN_BLOCK),
    *(
        f"blocks.{layer}.mlp.{x}.{kind}"
        for layer in (0, 1)
        for x in ("in", "out")
        for kind in ("weight", "bias")
    ),
}
SUFFIXES = (".npz", ".safetensors", ".pt")


def known(config: TransformerConfig) -> dict:
    return {
        "causal": config.causal,
        "normalization": "LN" if config.layer_norm else None,
        "activation": config.activation,
        "layer_norm_eps": config.layer_norm_eps,
    }


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("names", ["hooked", "bridge"])
def test_round_trip_is_exact(config, params, tmp_path, suffix, names):
    file = tmp_path / f"weights{suffix}"
    save_transformer_lens(params, file, names)
    back, read = load_transformer_lens(file, n_heads=config.n_heads, **known(config))
    assert read == config
    jax.tree.map(np.testing.assert_array_equal, back, dict(params))


def test_names_and_shapes_of_transformer_lens_4(variants, make_params):
    config = variants["layer_norm"]
    params = dict(make_params(config))
    bridge = to_transformer_lens(params, "bridge")
    assert set(bridge) == BRIDGE
    assert bridge["blocks.1.attn.q.weight"].shape == (6, 6)
    assert bridge["blocks.0.mlp.in.weight"].shape == (8, 6)
    assert bridge["unembed.weight"].shape == (3, 6)
    with pytest.raises(ValueError, match="no output bias, and b_U is not zero"):
        to_transformer_lens(params, "native")
    params["unembed"] = {**params["unembed"], "b_U": np.zeros(3, np.float32)}
    native = to_transformer_lens(params, "native")
    assert set(native) == NATIVE
    back, read = from_transformer_lens(native, n_heads=2, **known(config))
    assert read == config
    jax.tree.map(np.testing.assert_array_equal, back, params)


def test_heads_are_never_guessed(variants, make_params):
    config = variants["causal"]
    params = make_params(config)
    bridge = to_transformer_lens(params, "bridge")
    with pytest.raises(ValueError, match="n_heads must be given"):
        from_transformer_lens(bridge, **known(config))
    with pytest.raises(ValueError, match=r"'blocks.0.attn.*' of shape .* is not that of 4 heads"):
        from_transformer_lens(bridge, n_heads=4, **known(config))
    with pytest.raises(ValueError, match="n_heads is 3, but the weights have 2 heads"):
        from_transformer_lens(to_transformer_lens(params), n_heads=3, **known(config))
    with pytest.raises(ValueError, match="unknown weight 'blocks.0.attn.x.weight'"):
        more = bridge | {"blocks.0.attn.x.weight": np.ones(3)}
        from_transformer_lens(more, n_heads=2, **known(config))


def test_the_published_model_of_indirect_object_identification_is_supported():
    """It has 6 layers, 4 heads, LayerNorm folded or not, and GELU by tanh."""
    sizes = {"n_layers": 6, "n_heads": 4, "d_model": 64, "d_head": 16, "d_mlp": 3072}
    sizes |= {"n_ctx": 16, "d_vocab": 100, "d_vocab_out": 100}
    config = TransformerConfig(**sizes, causal=True, activation="gelu_tanh", layer_norm=True)
    shapes = weight_shapes(config).items()
    params = unflatten_dict({path: np.full(shape, path[-1] == "w") * 1.0 for path, shape in shapes})
    state = to_transformer_lens(params)
    _, read = from_transformer_lens(state, causal=True, normalization="LN", activation="gelu_tanh")
    assert read.n_layers == 6 and read.d_mlp == 3072 and read.layer_norm
    folded = to_transformer_lens(params, folded=True)
    assert not [name for name in folded if "ln" in name]
    _, same = from_transformer_lens(
        folded, causal=True, normalization="LNPre", activation="gelu_tanh"
    )
    assert same == read


def test_scales_and_shifts_are_folded_into_their_readers(variants, make_params, tokens, run):
    config = variants["layer_norm"]
    params = make_params(config)
    folded = to_transformer_lens(params, folded=True)
    assert not [name for name in folded if "ln" in name]
    back, read = from_transformer_lens(
        folded, causal=config.causal, normalization="LNPre", activation=config.activation
    )
    assert read == config
    expected, _ = run(params, config, tokens)
    np.testing.assert_allclose(run(back, config, tokens)[0], expected, rtol=1e-5, atol=1e-5)
    plain = {name: w for name, w in to_transformer_lens(params).items() if "ln" not in name}
    dropped, _ = from_transformer_lens(
        plain, causal=config.causal, normalization="LNPre", activation=config.activation
    )
    assert np.abs(run(dropped, config, tokens)[0] - expected).max() > 0.1


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_damaged_files_are_refused(variants, make_params, tmp_path, suffix):
    config = variants["causal"]
    file = tmp_path / f"weights{suffix}"
    save_transformer_lens(make_params(config), file)
    content = file.read_bytes()
    for n in range(0, len(content), len(content) // 40):
        file.write_bytes(content[:n])
        with pytest.raises(ValueError, match=file.name):
            read_weights(file)


def test_a_damaged_compressed_archive(tmp_path):
    file = tmp_path / "weights.npz"
    np.savez_compressed(file, a=np.random.default_rng(0).normal(size=1_000))
    content = bytearray(file.read_bytes())
    content[200:260] = bytes(60)
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"weights.npz cannot be read"):
        read_weights(file)


def test_an_incomplete_file(tmp_path):
    with pytest.raises(ValueError, match=r"missing.npz is missing"):
        read_weights(tmp_path / "missing.npz")
    with pytest.raises(ValueError, match="expected a suffix of .npz, .safetensors"):
        read_weights(tmp_path / "weights.h5")
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(ValueError, match="is not a regular file"):
        read_weights(tmp_path / "folder.safetensors")


def test_a_bomb_is_not_unpacked(tmp_path):
    file = tmp_path / "bomb.npz"
    np.savez_compressed(file, a=np.zeros(10**7, np.float32))
    with pytest.raises(ValueError, match="too large, uncompressed"):
        read_weights(file)


def test_objects_are_not_unpickled(tmp_path):
    file = tmp_path / "objects.npz"
    np.savez(file, a=np.array([{}], object))
    with pytest.raises(ValueError, match="array 'a' of object and shape"):
        read_weights(file)


@pytest.mark.parametrize("name", ["file", "allow_pickle"])
def test_names_that_numpy_cannot_write_are_refused(tmp_path: Path, name: str) -> None:
    """`np.savez` takes them for its own arguments."""
    arrays = {name: np.zeros(2), "b": np.ones(1)}
    with pytest.raises(ValueError, match=f"a.npz: an array in .npz cannot be named '{name}'"):
        write_weights(arrays, tmp_path / "a.npz")
    assert not list(tmp_path.iterdir())
    write_weights(arrays, tmp_path / "a.safetensors")
    assert read_weights(tmp_path / "a.safetensors").keys() == arrays.keys()
