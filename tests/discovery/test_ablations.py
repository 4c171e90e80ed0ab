"""Sources under each ablation, and methods that use them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from interpbench_jax.discovery import DISCOVERY_ABLATIONS, contrast_batch, node_patching
from interpbench_jax.discovery.losses import cross_entropy
from interpbench_jax.discovery.optimal_ablation import optimal_source
from interpbench_jax.model import NodePatch, Params, TransformerConfig, forward

Model = tuple[Params, TransformerConfig]
ARRAYS: dict[str, Any] = {
    "clean": jnp.array([[0, 1, 2], [0, 3, 1], [0, 2, 2], [0, 1, 3]]),
    "corrupted": jnp.array([[0, 3, 1], [0, 1, 2], [0, 1, 3], [0, 2, 0]]),
    "target": jnp.array([[0, 1, 2], [0, 2, 0], [0, 1, 1], [0, 0, 2]]),
    "positions": jnp.array([[0.0, 1.0, 1.0]] * 4),
}


@pytest.fixture(scope="module")
def model(one_layer, make_params):
    return make_params(one_layer, seed=1), one_layer


@pytest.fixture(scope="module")
def batches(model):
    """A batch per ablation."""
    return {
        kind: contrast_batch(*model, **ARRAYS, ablation=kind, loss=cross_entropy)
        for kind in DISCOVERY_ABLATIONS
    }


def test_sources(model: Model, batches: dict[str, Any]) -> None:
    _, written = forward(*model, ARRAYS["corrupted"])
    expected = {
        "resample": written,
        "mean": jnp.broadcast_to(written[:, 1:].mean((0, 1)), written.shape),  # BOS does not count
        "mean_per_position": jnp.broadcast_to(written.mean(0), written.shape),
        "zero": jnp.zeros(written.shape),
    }
    for kind, source in expected.items():
        np.testing.assert_allclose(batches[kind].source, source, atol=1e-6)
        _, written = forward(*model, ARRAYS["clean"])
        np.testing.assert_allclose(batches[kind].written, written, atol=1e-6)


def test_optimal_constants_cost_less_than_any_other(model, batches):
    """For each writer alone; its constants are the same for all inputs and positions."""
    source = batches["optimal"].source
    np.testing.assert_array_equal(source, jnp.broadcast_to(source[0, 0], source.shape))
    costs = {
        kind: np.asarray(node_patching(*model, batches[kind], cross_entropy))
        for kind in ("optimal", "mean", "zero")
    }
    assert (costs["optimal"] <= costs["mean"] + 1e-6).all()
    assert (costs["optimal"] <= costs["zero"] + 1e-3).all()
    assert (costs["optimal"] < costs["mean"] - 1e-3).any()


def test_optimal_constants_of_a_writer_that_is_only_read_linearly(model, batches):
    """With more steps they reach the optimum found by a plain optimiser for the last MLP."""
    params, config = model
    batch = batches["mean"]
    source = optimal_source(params, config, batch, cross_entropy, steps=400)
    last = jnp.eye(batch.source.shape[2])[-1]

    @jax.jit
    def cost(constant):
        everywhere = jnp.broadcast_to(constant, batch.source.shape)
        patch = NodePatch(last, everywhere)
        return cross_entropy(forward(params, config, batch.clean, patch)[0], batch)

    constant = source[0, 0, -1]
    gradient = jax.jit(jax.grad(cost))
    for _ in range(500):
        constant = constant - 0.5 * gradient(constant)
    np.testing.assert_allclose(cost(source[0, 0, -1]), cost(constant), atol=5e-3)


def test_steps_that_are_far_too_large_do_not_make_constants_worse(model, batches):
    """Learning starts from the mean; the best constant on the way is returned, not the last."""
    batch = batches["mean"]
    source = optimal_source(*model, batch, cross_entropy, steps=5, learning_rate=1e3)
    learnt, start = (
        np.asarray(node_patching(*model, given, cross_entropy))
        for given in (batch._replace(source=source), batch)
    )
    assert (learnt <= start + 1e-6).all()


def test_ablations_without_corrupted_inputs(model: Model) -> None:
    """Means are then over the clean inputs."""
    given = ARRAYS | {"corrupted": None}
    _, written = forward(*model, ARRAYS["clean"])
    batch = contrast_batch(*model, **given, ablation="mean")
    assert batch.source is not None
    np.testing.assert_allclose(batch.source[0, 0], written[:, 1:].mean((0, 1)), atol=1e-6)
    with pytest.raises(ValueError, match="resample ablation needs corrupted inputs"):
        contrast_batch(*model, **given)


def nan_where_clean_is_left(logits, batch):
    """A loss that is finite only on the clean output."""
    return jnp.where((logits == batch.clean_logits).all(), 0.0, jnp.nan)


def test_a_nan_loss_is_not_ignored(model, batches):
    """Optimal constants then do not fall back to the mean; inside `jit` they become NaN."""
    with pytest.raises(ValueError, match="optimal ablation gives NaN for input"):
        contrast_batch(*model, **ARRAYS, ablation="optimal", loss=nan_where_clean_is_left)
    source = optimal_source(*model, batches["mean"], nan_where_clean_is_left, steps=2)
    assert jnp.isnan(source).all()


@pytest.mark.parametrize("ablation", ["resample", "mean", "mean_per_position"])
def test_nan_sources(model, ablation):
    params, config = model
    blocks = params["blocks_0"]
    broken = params | {
        "blocks_0": blocks | {"mlp": blocks["mlp"] | {"b_out": jnp.full(4, jnp.nan)}}
    }
    with pytest.raises(ValueError, match=f"^{ablation} ablation gives NaN for m0"):
        contrast_batch(broken, config, **ARRAYS, ablation=ablation)


def test_ablations_that_lack_an_argument(model, no_shape_checks):
    with pytest.raises(ValueError, match="optimal ablation needs the loss"):
        contrast_batch(*model, **ARRAYS, ablation="optimal")
    with pytest.raises(ValueError, match="unknown ablation 'patch'; known: resample, mean, "):
        contrast_batch(*model, **ARRAYS, ablation="patch")
