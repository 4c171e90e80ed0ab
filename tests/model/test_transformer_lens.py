"""Weights go to TransformerLens names and come back unchanged; what does not fit is named."""

import dataclasses

import jax
import numpy as np
import pytest

from interpbench_jax.model import TransformerConfig
from interpbench_jax.zoo import from_transformer_lens, to_transformer_lens

BLOCK = (
    *(f"attn.{w}_{x}" for w in "Wb" for x in "QKVO"),
    *("mlp.W_in", "mlp.b_in", "mlp.W_out", "mlp.b_out"),
)
NAMES = {
    *("embed.W_E", "pos_embed.W_pos", "unembed.W_U", "unembed.b_U"),
    *(f"blocks.{layer}.{name}" for layer in (0, 1) for name in BLOCK),
}
NORM_NAMES = {
    *(f"blocks.{layer}.ln{i}.{x}" for layer in (0, 1) for i in (1, 2) for x in "wb"),
    *("ln_final.w", "ln_final.b"),
}
SHAPES = {
    "blocks.0.attn.W_Q": (2, 6, 3),
    "blocks.1.attn.b_K": (2, 3),
    "blocks.1.attn.W_O": (2, 3, 6),
    "blocks.0.mlp.W_out": (8, 6),
    "embed.W_E": (4, 6),
    "pos_embed.W_pos": (5, 6),
    "unembed.W_U": (6, 3),
}


@pytest.fixture
def state(variants, make_params):
    """The causal model in TransformerLens form."""
    return to_transformer_lens(make_params(variants["causal"]))


def test_round_trip(config, params):
    back, read = from_transformer_lens(
        to_transformer_lens(params),
        causal=config.causal,
        activation=config.activation,
        layer_norm_eps=config.layer_norm_eps,
    )
    assert read == config
    assert jax.tree.structure(back) == jax.tree.structure(dict(params))
    jax.tree.map(np.testing.assert_array_equal, back, dict(params))


def test_names_and_shapes_are_those_of_transformer_lens(config, params):
    state = to_transformer_lens(params)
    assert set(state) == NAMES | (NORM_NAMES if config.layer_norm else set())
    assert {name: state[name].shape for name in SHAPES} == SHAPES


def test_sizes_come_from_the_shapes(make_params):
    """Every size different from every other."""
    config = TransformerConfig(
        **{"n_layers": 3, "n_heads": 2, "d_model": 7, "d_head": 4, "d_mlp": 9},
        **{"n_ctx": 6, "d_vocab": 5, "d_vocab_out": 8, "causal": True, "layer_norm": True},
        **{"activation": "relu", "layer_norm_eps": 1e-3},
    )
    state = to_transformer_lens(make_params(config))
    _, read = from_transformer_lens(state, causal=True, activation="relu", layer_norm_eps=1e-3)
    assert read == config
    _, read = from_transformer_lens(state, causal=False)
    assert read == dataclasses.replace(config, causal=False, activation="gelu", layer_norm_eps=1e-5)


def test_buffers_are_ignored(state):
    buffers = {
        "blocks.0.attn.mask": np.ones((5, 5), bool),
        "blocks.1.attn.IGNORE": np.array(-np.inf),
    }
    params, _ = from_transformer_lens(state | buffers, causal=True)
    assert set(to_transformer_lens(params)) == set(state)


def named(name):
    """The weight's name in either spelling."""
    return name.replace(".", "[./]").replace("blocks[./]", "blocks[._/]")


@pytest.mark.parametrize("name", [*SHAPES, "blocks.0.ln2.w", "ln_final.b", "unembed.b_U"])
def test_missing_weight_is_named(variants, make_params, name):
    state = to_transformer_lens(make_params(variants["layer_norm"]))
    del state[name]
    with pytest.raises(ValueError, match=f"{named(name)}' is missing"):
        from_transformer_lens(state, causal=True)


def test_nothing_at_all():
    with pytest.raises(ValueError, match="embed.W_E' is missing"):
        from_transformer_lens({}, causal=True)


@pytest.mark.parametrize(
    "name",
    [
        *("embed.W_X", "blocks.1.attn.W_X", "blocks.0.ln1.w_extra", "extra", "blocks.x.mlp.W_in"),
        "blocks.0.attn.W_Q.extra",  # cannot be nested beside the weight W_Q
    ],
)
def test_unknown_weight_is_named(state, name):
    with pytest.raises(ValueError, match=f"unknown weight.*{named(name)}"):
        from_transformer_lens(state | {name: np.ones((2, 3))}, causal=True)


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("change", ["one more", "one axis more"])
def test_wrong_shape_is_named(state, name, change):
    """Either of this weight or, where a size is read from it, of the first that disagrees."""
    weight = state[name]
    wrong = np.ones([n + 1 for n in weight.shape] if change == "one more" else (*weight.shape, 2))
    with pytest.raises(ValueError, match=r"weight '.*' has shape \(.*\), expected") as error:
        from_transformer_lens(state | {name: wrong}, causal=True)
    read_from_it = name in ("embed.W_E", "blocks.0.attn.W_Q")
    if not (change == "one more" and read_from_it):
        assert error.match(named(name))
        assert str(wrong.shape) in str(error.value)


def test_unknown_activation(state, no_shape_checks):
    with pytest.raises(ValueError, match="silu"):
        from_transformer_lens(state, causal=True, activation="silu")
