"""EAP is exact for linear models, and integrated gradients add up for others."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from interpbench_jax.discovery import eap, eap_ig_masks, edge_masked_loss
from interpbench_jax.discovery.losses import cross_entropy
from interpbench_jax.model import Graph
from tests.model import numpy_reference

WEIGHTS = np.random.default_rng(0).standard_normal((4, 3, 3)).astype(np.float32)
STEPS = 32


def weighted_sum(logits, batch):
    """Linear in the logits."""
    del batch
    return (logits * WEIGHTS).sum()


def linear(params):
    """Attention is always uniform, and every unit of the MLPs always active."""
    params = jax.tree.map(jnp.asarray, dict(params))
    for name in ("blocks_0", "blocks_1"):
        for weight in ("W_Q", "b_Q", "W_K", "b_K"):
            params[name]["attn"][weight] *= 0
        params[name]["mlp"]["b_in"] += 20.0
    return params


@pytest.fixture(scope="module")
def linear_task(small, make_params, make_batch):
    """Weights, config and inputs of the linear model."""
    config = dataclasses.replace(small, activation="relu")
    params = linear(make_params(config))
    return params, config, make_batch(params, config)


def test_eap_is_exact_patching_if_the_model_is_linear(linear_task):
    """Compared with patches of single edges by the slow reference; q and k have no effect."""
    params, config, batch = linear_task
    graph = Graph.of(config)
    scores = np.asarray(eap(params, config, batch, weighted_sum))
    source = numpy_reference.forward(params, config, batch.corrupted)[1]
    clean = weighted_sum(numpy_reference.forward(params, config, batch.clean)[0], batch)
    for w, r in graph.edges:
        edge = {(graph.writers[w], graph.readers[r]): 1.0}
        logits, _ = numpy_reference.forward(params, config, batch.clean, edges=edge, source=source)
        effect = weighted_sum(logits, batch) - clean
        np.testing.assert_allclose(scores[w, r], effect, rtol=1e-4, atol=1e-4, err_msg=str(edge))
        matters = not graph.readers[r].endswith(("<q>", "<k>"))
        assert (abs(effect) > 1e-3) == matters, edge


def test_eap_attributes_nothing_to_equal_inputs(linear_task):
    params, config, batch = linear_task
    scores = eap(params, config, batch._replace(source=batch.written), weighted_sum)
    np.testing.assert_allclose(scores, 0, atol=1e-5)


@pytest.fixture(scope="module")
def along_the_path(one_layer, make_params, make_batch):
    """Gradients with all edges patched by 0, 1/STEPS, ..., 1, and the scores of EAP-IG."""
    params = make_params(one_layer, seed=1)
    batch = make_batch(params, one_layer)
    graph = Graph.of(one_layer)

    @jax.jit
    def gradient(share):
        loss = edge_masked_loss(params, one_layer, batch, cross_entropy)
        return jax.grad(loss)(jnp.full(graph.valid.shape, share)) * graph.valid

    gradients = np.stack([gradient(share) for share in np.linspace(0, 1, STEPS + 1)])
    return gradients, eap_ig_masks(params, one_layer, batch, cross_entropy, steps=STEPS)


def test_integrated_gradients_are_the_mean_along_the_path(along_the_path):
    gradients, scores = along_the_path
    np.testing.assert_allclose(scores, gradients.mean(0), atol=1e-5)


def test_integrated_gradients_add_up(one_layer, make_params, make_batch, along_the_path):
    """They add up to the loss on the corrupted input minus the loss on the clean one.

    Step k of 0..n lies in the k-th of n + 1 equal parts of the path, so the mean is off by at most
    the slope's total variation over n + 1. On the grid itself, the trapezoid sum is much closer.
    """
    params = make_params(one_layer, seed=1)
    batch = make_batch(params, one_layer)
    corrupted, _ = numpy_reference.forward(params, one_layer, batch.corrupted)
    rise = cross_entropy(jnp.asarray(corrupted, jnp.float32), batch) - cross_entropy(
        batch.clean_logits, batch
    )
    gradients, scores = along_the_path
    slopes = gradients.sum((1, 2))
    tolerance = np.abs(np.diff(slopes)).sum() / (STEPS + 1)
    assert tolerance < 0.1 * abs(rise)
    np.testing.assert_allclose(scores.sum(), rise, rtol=0, atol=tolerance)
    ends = (slopes[0] + slopes[-1]) / 2
    trapezoid = (scores.sum() * (STEPS + 1) - ends) / STEPS
    bend = np.abs(np.diff(slopes, 2)).max()  # the rule's error is a twelfth of this
    np.testing.assert_allclose(trapezoid, rise, rtol=0, atol=bend + 1e-5)


def test_integrated_gradients_attribute_nothing_to_equal_inputs(one_layer, make_params, make_batch):
    params = make_params(one_layer, seed=1)
    batch = make_batch(params, one_layer)
    batch = batch._replace(source=batch.written)
    scores = eap_ig_masks(params, one_layer, batch, cross_entropy, steps=STEPS)
    np.testing.assert_allclose(scores, 0, atol=1e-6)


def test_integration_needs_a_step(one_layer, make_params, make_batch):
    params = make_params(one_layer)
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        eap_ig_masks(params, one_layer, make_batch(params, one_layer), cross_entropy, steps=0)
