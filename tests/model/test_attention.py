"""Both forms of attention compute one function, and its gradient."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from interpbench_jax.model.attention import _matmul, _unrolled, attend
from interpbench_jax.model.backward import DERIVATIVE
from tests.model import numpy_reference

forms = pytest.mark.parametrize("form", [_matmul, _unrolled])
directions = pytest.mark.parametrize("causal", [True, False])
# (head, d_head, pos, batch), all different so that no two axes can be confused.
SHAPE = (2, 3, 5, 4)


def draw(shape, seed=0, scale=1.0):
    """Queries, keys and values."""
    rng = np.random.default_rng(seed)
    return jnp.asarray(scale * rng.standard_normal((3, *shape)), jnp.float32)


def by_the_reference(inputs, causal, padding=None):
    """Head by head; the package has `[head, d_head, pos, batch]`, the reference the reverse."""
    heads = zip(*np.asarray(inputs, np.float64), strict=True)
    padding = np.zeros(inputs.shape[3:], bool) if padding is None else padding
    mixed = [
        numpy_reference.attention(*(x.T for x in head), causal=causal, padding=padding.T).T
        for head in heads
    ]
    return np.stack(mixed)


@functools.partial(jax.jit, static_argnums=(0, 1))
def value_and_gradients(form, causal, inputs, cotangent, padding=None):
    """The output, and the gradients of queries, keys and values for a given cotangent."""
    out, pullback = jax.vjp(lambda x: form(causal, x, padding, DERIVATIVE), inputs)
    return out, pullback(cotangent)[0]


def value(form, causal, inputs):
    return value_and_gradients(form, causal, inputs, inputs[0])[0]


@forms
@directions
def test_forms_agree_with_the_reference(form, causal):
    inputs = draw(SHAPE)
    found = value(form, causal, inputs)
    np.testing.assert_allclose(found, by_the_reference(inputs, causal), atol=1e-5)


@directions
@pytest.mark.parametrize("shape", [SHAPE, (1, 17, 2, 2), (1, 2, 17, 2)])
def test_attend_agrees_with_the_reference(shape, causal):
    """Small heads, wide heads and long sequences; only the first are unrolled."""
    inputs = draw(shape, seed=1)
    found = jax.jit(attend, static_argnames="causal")(inputs, causal=causal)
    np.testing.assert_allclose(found, by_the_reference(inputs, causal), atol=1e-5)


@directions
def test_forms_agree_in_gradient(causal):
    inputs, (cotangent, *_) = draw(SHAPE, seed=2), draw(SHAPE, seed=3)
    _, by_autodiff = value_and_gradients(_matmul, causal, inputs, cotangent)
    _, by_hand = value_and_gradients(_unrolled, causal, inputs, cotangent)
    for one, other in zip(by_hand, by_autodiff, strict=True):
        assert np.abs(other).max() > 0.1
        np.testing.assert_allclose(one, other, atol=1e-5)


@forms
@directions
def test_padding_is_not_attended_to(form, causal):
    """Rows of 5, 4, 3 and 1 tokens; padding gets no gradient, and the forms agree."""
    inputs, (cotangent, *_) = draw(SHAPE, seed=8), draw(SHAPE, seed=9)
    padding = np.arange(5)[:, None] >= np.array([5, 4, 3, 1])[None]
    out, gradients = value_and_gradients(form, causal, inputs, cotangent, padding)
    np.testing.assert_allclose(out, by_the_reference(inputs, causal, padding), atol=1e-5)
    for gradient in gradients[1:]:
        assert (np.asarray(gradient)[:, :, padding] == 0).all()
    _, by_autodiff = value_and_gradients(_matmul, causal, inputs, cotangent, padding)
    for one, other in zip(gradients, by_autodiff, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@directions
def test_derivatives_agree_with_differences(causal):
    """In float64, against finite differences of the function itself."""
    with jax.enable_x64(True):
        inputs = draw((2, 2, 3, 2), seed=4).astype(jnp.float64)
        unrolled = jax.jit(lambda x: _unrolled(causal, x, None, DERIVATIVE))
        check_grads(unrolled, (inputs,), order=1, modes=["fwd", "rev"], atol=1e-6, rtol=1e-6)


@forms
def test_the_first_position_attends_only_to_itself_if_causal(form):
    qkv = draw(SHAPE, seed=5)
    np.testing.assert_allclose(value(form, True, qkv)[:, :, 0], qkv[2, :, :, 0], atol=1e-6)


@forms
@directions
def test_equal_keys_give_the_mean_of_the_values_seen(form, causal):
    q, k, v = draw(SHAPE, seed=6)
    qkv = jnp.stack([q, jnp.broadcast_to(k[:, :, :1], k.shape), v])
    last = value(form, causal, qkv)[:, :, -1]
    np.testing.assert_allclose(last, v.mean(2), atol=1e-6)
    first_seen = v[:, :, :2] if causal else v
    second = value(form, causal, qkv)[:, :, 1]
    np.testing.assert_allclose(second, first_seen.mean(2), atol=1e-6)


@forms
@directions
def test_huge_scores_do_not_overflow(form, causal):
    """With scores in the thousands, every query selects one value, and gradients are finite."""
    inputs = draw(SHAPE, seed=7, scale=100.0)
    out, gradients = value_and_gradients(form, causal, inputs, jnp.ones(SHAPE))
    np.testing.assert_allclose(out, by_the_reference(inputs, causal), rtol=1e-4, atol=1e-2)
    assert all(np.isfinite(gradient).all() for gradient in gradients)
