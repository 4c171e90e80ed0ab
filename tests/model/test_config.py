"""A config refuses sizes and choices that make no model, and says which."""

import dataclasses

import pytest

from interpbench_jax.model import TransformerConfig

SIZES = "n_layers n_heads d_model d_head d_mlp n_ctx d_vocab d_vocab_out".split()


def changed(config, **fields):
    return dataclasses.replace(config, **fields)


@pytest.mark.parametrize("field", SIZES)
@pytest.mark.parametrize("value", [0, -3, 2.5])
def test_sizes_are_positive_integers(variants, field, value, no_shape_checks):
    with pytest.raises(ValueError, match=f"{field} must be a positive integer, got {value}"):
        changed(variants["causal"], **{field: value})


def test_activation_is_known(variants, no_shape_checks):
    with pytest.raises(ValueError, match="activation must be one of .*gelu_tanh.*got 'tanh'"):
        changed(variants["causal"], activation="tanh")


@pytest.mark.parametrize("pad", [-1, 4])
def test_padding_is_a_token(variants, pad):
    with pytest.raises(ValueError, match=f"pad must be one of the 4 tokens, got {pad}"):
        changed(variants["causal"], pad=pad)


@pytest.mark.parametrize("field", ["init_std", "layer_norm_eps"])
@pytest.mark.parametrize("value", [0.0, -0.25, float("nan")])
def test_scales_are_positive(variants, field, value):
    with pytest.raises(ValueError, match=f"{field}.* must be positive.* {value}"):
        changed(variants["causal"], **{field: value})


def test_equal_configs_hash_equal(variants):
    """So that one serves as a static argument of `jit` in place of the other."""
    config = variants["causal"]
    same = TransformerConfig(**dataclasses.asdict(config))
    assert same == config
    assert hash(same) == hash(config)
    assert changed(config, causal=False) != config
