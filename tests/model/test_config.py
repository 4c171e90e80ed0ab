"""A config refuses invalid sizes and options, and names them."""

import dataclasses
from reprlib import repr as short

import numpy as np
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


@pytest.mark.parametrize("field", SIZES)
def test_bools_and_floats_are_not_sizes(variants, field, no_shape_checks):
    for value in (True, 3.0, np.float32(3), "3", None, [2]):
        with pytest.raises(ValueError, match=f"{field} must be a positive integer, got "):
            changed(variants["causal"], **{field: value})


@pytest.mark.parametrize("field", SIZES)
def test_absurd_sizes_are_refused(variants, field):
    for value in (2**24 + 1, 10**30):
        with pytest.raises(ValueError, match=f"{field} must be at most 16777216, got 1"):
            changed(variants["causal"], **{field: value})


def test_graphs_that_do_not_fit_into_memory_are_refused(variants):
    assert changed(variants["causal"], n_layers=96, n_heads=96).n_layers == 96  # GPT-3
    with pytest.raises(ValueError, match="2000 layers of 5 heads and an MLP are too many"):
        changed(variants["causal"], n_layers=2000, n_heads=5)


@pytest.mark.parametrize("field", ["causal", "layer_norm"])
@pytest.mark.parametrize("value", ["false", 0, None])
def test_switches_are_true_or_false(variants, field, value, no_shape_checks):
    with pytest.raises(ValueError, match=f"{field} must be true or false, got {value!r}"):
        changed(variants["causal"], **{field: value})


def test_activation_is_known(variants, no_shape_checks):
    with pytest.raises(ValueError, match="activation must be one of .*gelu_tanh.*got 'tanh'"):
        changed(variants["causal"], activation="tanh")


@pytest.mark.parametrize("pad", [-1, 4, True, "1"])
def test_padding_must_be_a_token(variants, pad, no_shape_checks):
    with pytest.raises(ValueError, match=f"pad must be one of the 4 tokens, got {pad!r}"):
        changed(variants["causal"], pad=pad)


@pytest.mark.parametrize("field", ["init_std", "layer_norm_eps"])
@pytest.mark.parametrize("value", [0.0, -0.25, float("nan"), float("inf"), 10**400, True, "1"])
def test_scales_are_positive(variants, field, value, no_shape_checks):
    with pytest.raises(ValueError, match=f"{field}.* must be positive.* {short(value)}"):
        changed(variants["causal"], **{field: value})


def test_equal_configs_hash_equal(variants):
    """So one can replace the other as a static argument of `jit`."""
    config = variants["causal"]
    same = TransformerConfig(**dataclasses.asdict(config))
    assert same == config
    assert hash(same) == hash(config)
    assert changed(config, causal=False) != config
