"""The plain forward pass, compared with a slow reference and with itself."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from interpbench_jax.model import Graph, TransformerConfig, forward, init_params
from tests.model import numpy_reference


@pytest.mark.parametrize("n_pos", [5, 3])
def test_agrees_with_the_reference(config, params, tokens, run, n_pos):
    """Logits and every writer, at full length and shorter."""
    logits, writers = run(params, config, tokens[:, :n_pos])
    expected_logits, written = numpy_reference.forward(params, config, tokens[:, :n_pos])
    assert tuple(written) == Graph.of(config).writers
    np.testing.assert_allclose(logits, expected_logits, atol=1e-4)
    np.testing.assert_allclose(writers, numpy_reference.stacked(written), atol=1e-4)


@pytest.mark.parametrize(
    ("activation", "causal", "layer_norm"),
    [
        ("relu", True, True),
        ("gelu", False, True),
        ("gelu_tanh", False, False),
        ("relu", True, False),
    ],
)
def test_other_choices_agree_with_the_reference(make_params, run, activation, causal, layer_norm):
    """One layer of another shape: one wide head, one output, and inputs far from zero."""
    config = TransformerConfig(
        n_layers=1,
        n_heads=1,
        d_model=4,
        d_head=7,
        d_mlp=5,
        n_ctx=6,
        d_vocab=3,
        d_vocab_out=1,
        causal=causal,
        activation=activation,
        layer_norm=layer_norm,
        layer_norm_eps=0.1,
    )
    params = make_params(config, seed=1)
    tokens = jnp.array([[0, 1, 2, 1], [0, 2, 2, 0]])
    expected, _ = numpy_reference.forward(params, config, tokens)
    np.testing.assert_allclose(run(params, config, tokens)[0], expected, atol=1e-5)


def test_large_vocabulary_agrees_with_the_reference(variants, make_params, run):
    """Above 128 tokens the embedding is a lookup instead of a product with one-hot vectors."""
    config = dataclasses.replace(variants["causal"], n_layers=1, d_vocab=130)
    params = make_params(config)
    tokens = jnp.array([[0, 129, 64, 128], [0, 1, 127, 129]])
    expected, _ = numpy_reference.forward(params, config, tokens)
    np.testing.assert_allclose(run(params, config, tokens)[0], expected, atol=1e-5)


def test_writers_and_output_biases_add_up_to_the_final_residual(config, params, tokens, run):
    logits, writers = run(params, config, tokens)
    biases = sum(params[f"blocks_{layer}"]["attn"]["b_O"] for layer in range(config.n_layers))
    final = np.asarray(writers.sum(2) + biases[None, None])
    if config.layer_norm:
        final = numpy_reference.layer_norm(final, params["ln_final"], config.layer_norm_eps)
    unembedded = final @ params["unembed"]["W_U"] + params["unembed"]["b_U"][None, None]
    np.testing.assert_allclose(logits, unembedded, atol=1e-5)


def test_rows_do_not_mix(config, params, tokens, run):
    """A row gives the same among its own copies as among other rows."""
    together = run(params, config, tokens)
    for row in range(len(tokens)):
        alone = run(params, config, tokens[jnp.array([row] * len(tokens))])
        for one, all_rows in zip(alone, together, strict=True):
            np.testing.assert_allclose(one[0], all_rows[row], atol=1e-6)


def test_only_a_causal_model_ignores_later_tokens(config, params, tokens, run):
    whole = run(params, config, tokens)[0][:, :3]
    start = run(params, config, tokens[:, :3])[0]
    if config.causal:
        np.testing.assert_allclose(start, whole, atol=1e-5)
    else:
        assert np.abs(start - whole).max() > 1e-2


def test_second_call_does_not_recompile(variants, make_params, tokens, other_tokens):
    """Neither for other weights and tokens nor for another, equal config."""
    config = dataclasses.replace(variants["causal"], n_layers=1)
    compiled: Any = jax.jit(lambda *args: forward(*args), static_argnums=1)
    compiled(make_params(config, 0), config, tokens)
    compiled(make_params(config, 1), dataclasses.replace(config), other_tokens)
    assert compiled._cache_size() == 1


def test_initial_weights(variants):
    """Normal with the given deviation, biases zero, scales one; drawn only from the key."""
    sizes = {"n_layers": 1, "d_model": 64, "d_mlp": 256, "init_std": 0.3}
    wide = dataclasses.replace(variants["layer_norm"], **sizes)
    draw = jax.jit(init_params, static_argnums=0)  # with the generator that compiles fastest
    weights, same, other = [draw(wide, jax.random.key(seed, impl="rbg")) for seed in (0, 0, 1)]
    attention = weights["blocks_0"]["attn"]
    assert np.abs(attention["W_Q"] - attention["W_K"]).max() > 0.1
    leaves = [jax.tree.leaves(model) for model in (same, other)]
    with_paths = jax.tree_util.tree_leaves_with_path(weights)
    for (path, weight), again, elsewhere in zip(with_paths, *leaves, strict=True):
        name = path[-1].key
        np.testing.assert_array_equal(weight, again)
        if name.startswith("W_"):
            assert np.abs(weight - elsewhere).max() > 0.1
            # Five standard errors of a standard deviation.
            assert abs(weight.std() - 0.3) < 0.3 * 5 / np.sqrt(2 * weight.size)
        else:
            np.testing.assert_array_equal(weight, np.full_like(weight, name == "w"))


@pytest.mark.parametrize("causal", [True, False])
def test_padding_changes_no_output_at_other_tokens(variants, make_params, run, causal):
    """A sequence has the same outputs alone and padded, and they equal the reference."""
    config = dataclasses.replace(variants["causal"], causal=causal, pad=3)
    params = make_params(config)
    tokens = jnp.array([[0, 1, 2, 3, 3], [0, 2, 2, 1, 1]])
    logits, writers = run(params, config, tokens)
    expected, written = numpy_reference.forward(params, config, tokens)
    np.testing.assert_allclose(logits, expected, atol=1e-4)
    np.testing.assert_allclose(writers, numpy_reference.stacked(written), atol=1e-4)
    alone, _ = run(params, config, tokens[:1, :3])
    np.testing.assert_allclose(logits[:1, :3], alone, atol=1e-5)


@pytest.mark.parametrize("shape", [(5,), (1, 2, 5)])
def test_tokens_without_batch(variants, make_params, shape, no_shape_checks):
    config = variants["causal"]
    with pytest.raises(ValueError, match=rf"tokens must be \[batch, pos\].*\({shape[0]}"):
        forward(make_params(config), config, jnp.zeros(shape, int))


def test_tokens_longer_than_the_context(variants, make_params):
    config = variants["causal"]
    with pytest.raises(ValueError, match="sequence of 6 positions.*at most 5"):
        forward(make_params(config), config, jnp.zeros((1, 6), int))


@pytest.mark.parametrize("d_vocab", [5, 200])
@pytest.mark.parametrize("token", [-1, 999])
def test_tokens_that_are_not_in_the_vocabulary(variants, make_params, d_vocab, token):
    """JAX would use zeros in a small vocabulary, and another row in a large one."""
    config = dataclasses.replace(variants["causal"], d_vocab=d_vocab)
    message = f"the input has token {token}, expected one of the {config.d_vocab} from 0"
    with pytest.raises(ValueError, match=message):
        forward(make_params(config), config, jnp.array([[0, 1, token]]))


def test_tokens_are_integers(variants, make_params, no_shape_checks):
    config = variants["causal"]
    with pytest.raises(ValueError, match="the input has tokens of type float32, expected integers"):
        forward(make_params(config), config, jnp.zeros((1, 3)))
