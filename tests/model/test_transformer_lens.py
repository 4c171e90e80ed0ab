"""Weights are converted to TransformerLens names and back; invalid ones are named."""

import dataclasses
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from interpbench_jax.model import Graph, Transformer, TransformerConfig, weight_shapes
from interpbench_jax.model.stream import ResidualStream
from interpbench_jax.zoo import from_transformer_lens, to_transformer_lens
from tests.model import numpy_reference

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


def read_plain(state):
    return from_transformer_lens(state, causal=True, normalization=None, activation="gelu")


def test_round_trip(config, params):
    back, read = from_transformer_lens(
        to_transformer_lens(params),
        causal=config.causal,
        normalization="LN" if config.layer_norm else None,
        activation=config.activation,
        layer_norm_eps=config.layer_norm_eps,
    )
    assert read == config
    chex.assert_trees_all_equal(back, dict(params))


def test_names_and_shapes_are_those_of_transformer_lens(config, params):
    state = to_transformer_lens(params)
    assert set(state) == NAMES | (NORM_NAMES if config.layer_norm else set())
    assert {name: state[name].shape for name in SHAPES} == SHAPES


def test_sizes_come_from_the_shapes(make_params):
    """With all sizes different."""
    config = TransformerConfig(
        n_layers=3,
        n_heads=2,
        d_model=7,
        d_head=4,
        d_mlp=9,
        n_ctx=6,
        d_vocab=5,
        d_vocab_out=8,
        causal=True,
        activation="relu",
        layer_norm=True,
        layer_norm_eps=1e-3,
    )
    state = to_transformer_lens(make_params(config))
    given: dict[str, Any] = {"causal": True, "normalization": "LN", "activation": "relu"}
    _, read = from_transformer_lens(state, **given, layer_norm_eps=1e-3)
    assert read == config
    _, read = from_transformer_lens(state, **given | {"causal": False, "activation": "gelu"})
    assert read == dataclasses.replace(config, causal=False, activation="gelu", layer_norm_eps=1e-5)


def test_buffers_are_ignored(state):
    buffers = {
        "blocks.0.attn.mask": np.ones((5, 5), bool),
        "blocks.1.attn.IGNORE": np.array(-np.inf),
    }
    params, _ = read_plain(state | buffers)
    assert set(to_transformer_lens(params)) == set(state)


def named(name):
    """A pattern for the weight's name in either spelling."""
    return name.replace(".", "[./]").replace("blocks[./]", "blocks[._/]")


@pytest.mark.parametrize("name", [*SHAPES, "blocks.0.ln2.w", "ln_final.b", "unembed.b_U"])
def test_missing_weight_is_named(variants, make_params, name):
    state = to_transformer_lens(make_params(variants["layer_norm"]))
    del state[name]
    with pytest.raises(ValueError, match=f"{named(name)}' is missing"):
        from_transformer_lens(state, causal=True, normalization="LN", activation="gelu_tanh")


def test_no_weights():
    with pytest.raises(ValueError, match="embed.W_E' is missing"):
        read_plain({})


@pytest.mark.parametrize(
    "name",
    [
        *("embed.W_X", "blocks.1.attn.W_X", "blocks.0.ln1.w_extra", "extra", "blocks.x.mlp.W_in"),
        "blocks.0.attn.W_Q.extra",  # cannot be nested below the weight W_Q
    ],
)
def test_unknown_weight_is_named(state, name):
    with pytest.raises(ValueError, match=f"unknown weight.*{named(name)}"):
        read_plain(state | {name: np.ones((2, 3))})


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("change", ["one more", "one axis more"])
def test_wrong_shape_is_named(state, name, change):
    """The error names this weight or, if a size is read from it, the first that disagrees."""
    weight = state[name]
    wrong = np.ones([n + 1 for n in weight.shape] if change == "one more" else (*weight.shape, 2))
    with pytest.raises(ValueError, match=r"weight '.*' has shape \(.*\), expected") as error:
        read_plain(state | {name: wrong})
    read_from_it = name in ("embed.W_E", "blocks.0.attn.W_Q")
    if not (change == "one more" and read_from_it):
        assert error.match(named(name))
        assert str(wrong.shape) in str(error.value)


def test_unknown_activation(state, no_shape_checks):
    with pytest.raises(ValueError, match="silu"):
        from_transformer_lens(state, causal=True, normalization=None, activation="silu")  # type: ignore[arg-type]


def folded(state):
    """A model with LayerNorm as processed by TransformerLens's `from_pretrained`, in float64.

    The steps, in this order: scales and shifts of each LayerNorm are folded into the weights that
    read from it, whose inputs are centred; outputs to the stream are centred; the unembedding is
    centred over the vocabulary; value biases are folded into output biases.
    """
    s = {name: np.asarray(weight, np.float64) for name, weight in state.items()}

    def fold(norm, weight, bias, axis):
        scale, shift = s.pop(f"{norm}.w"), s.pop(f"{norm}.b")
        for w, b in zip(weight, bias, strict=True):
            s[b] = s[b] + np.tensordot(s[w], shift, (axis, 0))
            s[w] = s[w] * np.expand_dims(scale, tuple(range(1, s[w].ndim - axis)))
            s[w] = s[w] - s[w].mean(axis, keepdims=True)

    for block in ("blocks.0", "blocks.1"):
        attention = f"{block}.attn"
        weights, biases = ([f"{attention}.{x}_{y}" for y in "QKV"] for x in "Wb")
        fold(f"{block}.ln1", weights, biases, axis=1)
        fold(f"{block}.ln2", [f"{block}.mlp.W_in"], [f"{block}.mlp.b_in"], axis=0)
        values, output = s[f"{attention}.b_V"], s[f"{attention}.W_O"]
        s[f"{attention}.b_O"] += np.einsum("he,hed->d", values, output)
        s[f"{attention}.b_V"] = np.zeros_like(values)
        for name in ("attn.W_O", "attn.b_O", "mlp.W_out", "mlp.b_out"):
            s[f"{block}.{name}"] -= s[f"{block}.{name}"].mean(-1, keepdims=True)
    fold("ln_final", ["unembed.W_U"], ["unembed.b_U"], axis=0)
    for name in ("embed.W_E", "pos_embed.W_pos", "unembed.W_U", "unembed.b_U"):
        s[name] -= s[name].mean(-1, keepdims=True)
    return s


def test_folded_layer_norm_is_still_applied(variants, make_params, tokens, run):
    """Folded weights like GPT-2's give the same logits, up to their mean over the vocabulary."""
    config = dataclasses.replace(variants["layer_norm"], causal=True)
    params = make_params(config)
    expected, _ = numpy_reference.forward(params, config, tokens)
    state = folded(to_transformer_lens(params))
    assert set(state) == NAMES
    back, read = from_transformer_lens(
        state, causal=True, normalization="LNPre", activation="gelu_tanh"
    )
    assert read == config
    logits, _ = run(back, read, tokens)
    np.testing.assert_allclose(logits, expected - expected.mean(-1, keepdims=True), atol=1e-4)
    without, _ = run(*read_plain(state), tokens)
    assert np.abs(without - logits).max() > 0.5


def test_the_normalization_is_never_guessed(state, variants, make_params, no_shape_checks):
    """Weights of a model with a folded LayerNorm look like those of a model without."""
    with pytest.raises(TypeError, match="normalization"):
        from_transformer_lens(state, causal=True, activation="gelu")  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="normalization must be one of .* or None, got 'RMS'"):
        from_transformer_lens(state, causal=True, normalization="RMS", activation="gelu")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="expected normalization 'LNPre' if it was folded"):
        from_transformer_lens(state, causal=True, normalization="LN", activation="gelu")
    scaled = to_transformer_lens(make_params(variants["layer_norm"]))
    for normalization in (None, "LNPre"):
        with pytest.raises(ValueError, match=r"weight '.*ln.*' belongs to a LayerNorm"):
            from_transformer_lens(
                scaled, causal=True, normalization=normalization, activation="gelu"
            )


@pytest.mark.parametrize("kind", [np.float16, jnp.bfloat16, np.float64])
def test_floating_types_become_float32(state, kind):
    given = {name: np.asarray(weight).astype(kind) for name, weight in state.items()}
    params, _ = read_plain(given)
    for name, weight in to_transformer_lens(params).items():
        assert weight.dtype == np.float32
        np.testing.assert_array_equal(weight, given[name].astype(np.float32))


@pytest.mark.parametrize("kind", [np.int32, bool, np.complex64, object])
def test_other_types_are_refused_by_name(state, kind):
    name = "blocks.1.mlp.b_in"
    kind_name = np.dtype(kind).name
    with pytest.raises(ValueError, match=f"{named(name)}' has type {kind_name}, expected one of"):
        read_plain(state | {name: np.ones(8, kind)})


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_weights_that_are_not_finite_in_float32_are_refused(state, value):
    bias = np.array([0.0, value, 0.0])
    with pytest.raises(ValueError, match=r"unembed\.b_U' holds numbers that are not finite"):
        read_plain(state | {"unembed.b_U": bias})


def test_our_spelling_of_a_name_is_refused(state):
    """With two spellings of one weight, one of them would be ignored."""
    with pytest.raises(ValueError, match="unknown weight 'blocks_0.attn.W_Q'"):
        read_plain(state | {"blocks_0.attn.W_Q": state["blocks.0.attn.W_Q"]})


def test_shapes_are_those_that_the_modules_declare(config):
    module, stream = Transformer(config), ResidualStream(Graph.of(config), 1)
    tokens = jnp.zeros((1, 1), int)
    blank = jax.eval_shape(lambda: module.init(jax.random.key(0), tokens, stream)["params"])
    declared = {path: leaf.shape for path, leaf in flatten_dict(blank).items()}
    assert list(weight_shapes(config).items()) == sorted(declared.items())
