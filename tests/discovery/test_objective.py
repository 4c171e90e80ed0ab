"""Batches, the loss as a function of a mask, and the losses by hand."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from interpbench_jax.discovery import ContrastBatch, contrast_batch, edge_masked_loss, usual_loss
from interpbench_jax.discovery.losses import (
    absolute_error,
    cross_entropy,
    kl_to_clean,
    logit_difference,
    squared_error,
    squared_error_to_clean,
)
from interpbench_jax.model import Graph
from interpbench_jax.siit import task_loss

LOG3 = math.log(3)
ZEROS: dict[str, Any] = dict.fromkeys(("clean", "corrupted", "target"), jnp.zeros((2, 3), int))


def batch_of(clean_logits, target, positions):
    """A batch for losses that do not use tokens."""
    tokens = jnp.zeros(np.shape(target), int)
    nothing = jnp.zeros((*tokens.shape, 1, 1))
    return ContrastBatch(
        clean=tokens,
        corrupted=tokens,
        target=jnp.array(target),
        clean_logits=jnp.array(clean_logits),
        positions=jnp.array([positions] * len(target)),
        written=nothing,
        source=nothing,
    )


def test_mask_goes_from_clean_to_corrupted(one_layer, make_params, make_batch, run):
    params = make_params(one_layer)
    batch = make_batch(params, one_layer)
    shape = Graph.of(one_layer).valid.shape
    masked = jax.jit(lambda mask: edge_masked_loss(params, one_layer, batch, cross_entropy)(mask))
    for mask, tokens in [(jnp.zeros(shape), batch.clean), (jnp.ones(shape), batch.corrupted)]:
        expected = cross_entropy(run(params, one_layer, tokens)[0], batch)
        np.testing.assert_allclose(masked(mask), expected, atol=1e-5)


def test_batch_holds_the_models_outputs(one_layer, make_params, make_batch, run):
    params = make_params(one_layer)
    batch = make_batch(params, one_layer)
    expected, _ = run(params, one_layer, batch.clean)
    np.testing.assert_allclose(batch.clean_logits, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"corrupted": (2, 2)}, r"corrupted has shape \(2, 2\).*\(2, 3\)"),
        ({"corrupted": (1, 3)}, r"corrupted has shape \(1, 3\).*\(2, 3\)"),
        ({"target": (2, 2)}, r"target has shape \(2, 2\).*\(2, 3\)"),
        ({"target": (2,)}, r"target has shape \(2,\).*\(2, 3\)"),
        ({"positions": (3,)}, r"positions has shape \(3,\).*\(2, 3\)"),
        ({"positions": (2, 2)}, r"positions has shape \(2, 2\).*\(2, 3\)"),
    ],
)
def test_shapes_that_do_not_fit(small, make_params, changed, message, no_shape_checks):
    shapes = {"clean": (2, 3), "corrupted": (2, 3), "target": (2, 3), "positions": (2, 3)} | changed
    arrays: dict[str, Any] = {
        name: jnp.zeros(s, float if name == "positions" else int) for name, s in shapes.items()
    }
    with pytest.raises(ValueError, match=message):
        contrast_batch(make_params(small), small, **arrays)


@pytest.mark.parametrize("name", ["clean", "corrupted"])
@pytest.mark.parametrize("token", [-1, 4])
def test_tokens_that_are_not_in_the_vocabulary(small, make_params, name, token):
    """JAX would read another row."""
    arrays = ZEROS | {name: ZEROS[name].at[1, 2].set(token)}
    with pytest.raises(ValueError, match=f"{name} has token {token}, .* the 4 from 0"):
        contrast_batch(make_params(small), small, **arrays, positions=jnp.ones((2, 3)))


@pytest.mark.parametrize("label", [-1, 3])
def test_labels_out_of_range(small, make_params, label):
    """JAX would use the last output for -1, and NaN for 3."""
    arrays = ZEROS | {"target": ZEROS["target"].at[1, 2].set(label)}
    message = f"target has label {label}, expected one of the 3 from 0"
    with pytest.raises(ValueError, match=message):
        contrast_batch(make_params(small), small, **arrays, positions=jnp.ones((2, 3)))
    batch = batch_of([[[0.0] * 3]], [[label]], [1.0])
    for loss in (cross_entropy, logit_difference):
        with pytest.raises(ValueError, match=message):
            loss(batch.clean_logits, batch)
    with pytest.raises(ValueError, match=message):
        task_loss(batch.clean_logits, batch.target, batch.positions)


def test_values_are_not_labels(small, make_params):
    tokens = jnp.zeros((2, 3), int)
    target, positions = jnp.full((2, 3), -1.0), jnp.ones((2, 3))
    batch = contrast_batch(make_params(small), small, tokens, tokens, target, positions)
    assert squared_error(batch.clean_logits, batch) > 0


def test_corrupted_inputs_of_other_lengths(small, make_params):
    """Patches would insert values from padding. Equal lengths are accepted."""
    padded = dataclasses.replace(small, pad=3)
    clean = jnp.array([[0, 1, 2], [0, 1, 3]])
    given: dict[str, Any] = {"target": jnp.zeros((2, 3), int), "positions": jnp.ones((2, 3))}
    contrast_batch(make_params(padded), padded, clean, jnp.array([[0, 2, 1], [0, 2, 3]]), **given)
    for corrupted in ([[0, 2, 1], [0, 2, 1]], [[0, 2, 3], [0, 2, 3]]):
        with pytest.raises(ValueError, match="corrupted has . tokens in row ., expected padding"):
            contrast_batch(make_params(padded), padded, clean, jnp.array(corrupted), **given)


def test_at_least_one_position_counts(small, make_params):
    tokens = jnp.zeros((2, 3), int)
    with pytest.raises(ValueError, match="positions are all 0"):
        contrast_batch(make_params(small), small, tokens, tokens, tokens, jnp.zeros((2, 3)))


@pytest.mark.parametrize("loss", [cross_entropy, logit_difference])
def test_labels_are_integers(loss):
    batch = batch_of([[EVEN]], [[1.0]], [1.0])
    with pytest.raises(ValueError, match=f"{loss.__name__} needs labels, .* got float32"):
        loss(batch.clean_logits, batch)


# Two rows, three positions; the first has weight 0, the last three times that of the middle.
POSITIONS = [0.0, 1.0, 3.0]
EVEN, ODDS = [0.0, 0.0], [0.0, LOG3]  # probabilities 1/2, 1/2 and 1/4, 3/4
LOGITS = [[ODDS, ODDS, EVEN], [ODDS, EVEN, EVEN]]


def test_kl_by_hand():
    """Only one counted cell differs from the uniform clean output; its weight is 1 of 2 x 4."""
    batch = batch_of([[EVEN] * 3] * 2, [[0] * 3] * 2, POSITIONS)
    expected = (0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)) / 8
    np.testing.assert_allclose(kl_to_clean(jnp.array(LOGITS), batch), expected, rtol=1e-5)
    np.testing.assert_allclose(kl_to_clean(batch.clean_logits, batch), 0, atol=1e-7)


def test_kl_is_from_clean_to_patched():
    """The clean output is the first argument of the divergence."""
    batch = batch_of([[ODDS]], [[0]], [1.0])
    expected = 0.25 * math.log(0.25 / 0.5) + 0.75 * math.log(0.75 / 0.5)
    np.testing.assert_allclose(kl_to_clean(jnp.array([[EVEN]]), batch), expected, rtol=1e-5)


def test_cross_entropy_by_hand():
    """Weights 1 at the middle, 3 at the end; labels 1 and 0 there in both rows."""
    batch = batch_of([[EVEN] * 3] * 2, [[0, 1, 0], [0, 1, 0]], POSITIONS)
    expected = (-math.log(0.75) - math.log(0.5) + 2 * 3 * math.log(2)) / 8
    np.testing.assert_allclose(cross_entropy(jnp.array(LOGITS), batch), expected, rtol=1e-5)


def test_logit_difference_by_hand():
    """Largest wrong minus right: 5 - 3 at the middle, -1 - 1 and 4 - 4 at the end."""
    batch = batch_of([[[0.0] * 3] * 3] * 2, [[0, 1, 2], [0, 1, 0]], POSITIONS)
    logits = jnp.array(
        [
            [[9.0, 0.0, 0.0], [5.0, 3.0, 2.0], [-2.0, -1.0, 1.0]],
            [[9.0, 0.0, 0.0], [1.0, 3.0, 2.0], [4.0, 4.0, 0.0]],
        ]
    )
    assert logit_difference(logits, batch) == (1 * (2 - 1) + 3 * (-2 + 0)) / 8


def test_logit_difference_of_a_given_foil():
    """Never the largest wrong logit: 2 - 3 at the middle, -1 - 4 at the end."""
    batch = batch_of([[[0.0] * 3] * 3], [[0, 1, 0]], POSITIONS)
    logits = jnp.array([[[9.0, 0.0, 0.0], [5.0, 3.0, 2.0], [4.0, 7.0, -1.0]]])
    found = logit_difference(logits, batch._replace(foil=jnp.array([[1, 2, 2]])))
    assert found == (1 * (2 - 3) + 3 * (-1 - 4)) / 4


def test_squared_error_to_values_by_hand():
    """Off by 0.5 at the middle of the first row and by 2 at the end of the second."""
    batch = batch_of([[[0.0]] * 3] * 2, [[9.0, 1.0, 2.0], [9.0, 3.0, 4.0]], POSITIONS)
    logits = jnp.array([[[0.0], [0.5], [2.0]], [[0.0], [3.0], [6.0]]])
    assert squared_error(logits, batch) == (1 * 0.25 + 3 * 4) / 8


def test_squared_error_by_hand():
    """Mean over the outputs: (1 + 9) / 2 at the middle of the first row, 4 / 2 at the end."""
    zero = [0.0, 0.0]
    batch = batch_of([[zero] * 3] * 2, [[0] * 3] * 2, POSITIONS)
    logits = jnp.array([[[7.0, 7.0], [1.0, -3.0], [0.0, 2.0]], [zero] * 3])
    assert squared_error_to_clean(logits, batch) == (1 * 5 + 3 * 2) / 8


def test_absolute_error_by_hand():
    """Off by 0.5 at the middle of the first row and by 2 at the end of the second."""
    batch = batch_of([[[0.0]] * 3] * 2, [[9.0, 1.0, 2.0], [9.0, 3.0, 4.0]], POSITIONS)
    logits = jnp.array([[[0.0], [0.5], [2.0]], [[0.0], [3.0], [6.0]]])
    assert absolute_error(logits, batch) == (1 * 0.5 + 3 * 2) / 8


@pytest.mark.parametrize(
    ("method", "categorical", "loss"),
    [
        ("eap", True, cross_entropy),
        ("eap_ig_masks", False, absolute_error),
        ("acdc", True, kl_to_clean),
        ("acdc", False, squared_error_to_clean),
    ],
)
def test_usual_losses(method, categorical, loss):
    assert usual_loss(method, categorical) is loss
