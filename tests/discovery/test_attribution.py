"""Attribution methods compared with gradients of masks, manual patches, and each other."""

import functools
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from interpbench_jax.discovery import METHODS, edge_masked_loss
from interpbench_jax.discovery.attribution import attribution, mask_gradient
from interpbench_jax.discovery.losses import cross_entropy, kl_to_clean
from interpbench_jax.discovery.rows import run_rows
from interpbench_jax.model import Graph, NodePatch, Nudge, forward

STEPS = 3


@pytest.fixture(scope="module")
def task(small, make_params, make_batch):
    """Weights of the two-layer model and inputs."""
    params = make_params(small, seed=1)
    return params, small, make_batch(params, small)


def reader_gradients(params, config, batch, patch):
    """Gradients of the loss at every reader, and the writers' outputs, under a node patch.

    Found by nudging the input, which every reader reads.
    """
    graph = Graph.of(config)
    unchanged = jnp.zeros(batch.source.shape)

    def value(change, reader):
        weights = jnp.zeros(graph.valid.shape).at[0, reader].set(1.0)
        nudge = Nudge(weights, unchanged.at[:, :, 0].set(change))
        logits, written = forward(params, config, batch.clean, patch, nudge=nudge)
        return cross_entropy(logits, batch), written

    gradients = jax.vmap(jax.grad(value, has_aux=True), (None, 0), (2, 0))
    gradient, written = gradients(unchanged[:, :, 0], jnp.arange(graph.n_readers))
    return gradient, written[0]


gradients_at = jax.jit(reader_gradients, static_argnums=1)


def by_hand(task, masks, rows=None):
    """Source minus clean, times the mean gradient along a path of node masks."""
    params, config, batch = task
    gradients = [
        gradients_at(params, config, batch, NodePatch(jnp.asarray(mask, jnp.float32), batch.source))
        for mask in masks
    ]
    gradient = np.mean([np.asarray(g) for g, _ in gradients], 0)
    difference = np.asarray(batch.source - batch.written)
    scores = np.einsum("bpwd,bprd->wr", difference, gradient) * Graph.of(config).valid
    return scores if rows is None else scores * np.asarray(rows)[:, None]


@functools.partial(jax.jit, static_argnums=1)
def both_gradients(params, config, batch, share):
    """The gradient of the loss at a mask of equal shares, by JAX and by attribution."""
    mask = jnp.full(Graph.of(config).valid.shape, share)
    gradient = jax.grad(edge_masked_loss(params, config, batch, cross_entropy))(mask)
    return gradient, mask_gradient(params, config, batch, cross_entropy, share)


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_the_gradient_of_the_mask(task, share):
    """EAP is the gradient at an empty mask."""
    params, config, batch = task
    gradient, scores = both_gradients(*task, share)
    assert np.abs(gradient).max() > 1e-3
    np.testing.assert_allclose(scores, gradient * Graph.of(config).valid, atol=1e-6)
    if share == 0:
        eap = METHODS["eap"](params, config, batch, cross_entropy)
        np.testing.assert_allclose(eap, scores, atol=1e-6)


@pytest.mark.parametrize("rows_at_once", [pytest.param(1, marks=pytest.mark.slow), 3])
@pytest.mark.parametrize("where", ["clean", "node patch", "edge mask"])
def test_chunks_of_rows_change_nothing(task, monkeypatch, rows_at_once, where):
    """Five rows, one or three at a time, then with a copy; the loss is not a sum over rows."""
    params, config, four = task
    batch = jax.tree.map(lambda rows: jnp.concatenate([rows, rows[:1]]), four)
    graph = Graph.of(config)

    def loss(logits, batch):
        return jnp.sqrt(kl_to_clean(logits, batch) + 0.1) * logits.mean()

    def score(batch):
        if where == "edge mask":
            return mask_gradient(params, config, batch, loss, jnp.array(0.4))
        if where == "clean":
            return attribution(params, config, batch, loss)
        at_input = jnp.eye(7)[0]
        return attribution(
            params, config, batch, loss, lambda part, _: NodePatch(at_input, part.source)
        )

    found: Any = jax.jit(score)
    whole = found(batch)
    per_row = config.n_ctx * config.d_model * (graph.n_readers + 4 * graph.n_writers)
    module = sys.modules[run_rows.__module__]
    for budget in ("_BUDGET", "_CPU_BUDGET"):
        monkeypatch.setattr(module, budget, rows_at_once * per_row)
    monkeypatch.setattr(module, "_FEWEST_COLUMNS", 1)
    found.clear_cache()
    np.testing.assert_allclose(found(batch), whole, rtol=1e-4, atol=1e-6)
    assert np.abs(whole).max() > 1e-3


def test_clean_and_corrupted(task):
    params, config, batch = task
    start, end = np.zeros(7), np.eye(7)[0]
    scores = METHODS["eap_clean_corrupted"](params, config, batch, cross_entropy)
    np.testing.assert_allclose(scores, by_hand(task, [start, end]), atol=1e-5)
    # If the input is replaced, the rest of the model is recomputed.
    _, written = gradients_at(params, config, batch, NodePatch(jnp.eye(7)[0], batch.source))
    np.testing.assert_allclose(written, batch.source, atol=1e-5)


def test_integrated_gradients_along_the_input(task):
    params, config, batch = task
    path = [share * np.eye(7)[0] for share in np.arange(STEPS) / STEPS]
    scores = METHODS["eap_ig_inputs"](params, config, batch, cross_entropy, steps=STEPS)
    np.testing.assert_allclose(scores, by_hand(task, path), atol=1e-5)
    of_nodes = METHODS["nap_ig"](params, config, batch, cross_entropy, steps=STEPS)
    np.testing.assert_allclose(of_nodes, scores.sum(1), atol=1e-5)


def test_integrated_gradients_along_activations(task):
    params, config, batch = task
    scores = METHODS["eap_ig_activations"](params, config, batch, cross_entropy, steps=STEPS)
    groups = [[0], [1, 2], [3], [4, 5], [6]]
    expected = 0
    for group in groups:
        rows = np.isin(np.arange(7), group).astype(float)
        expected += by_hand(task, [s * rows for s in np.arange(STEPS) / STEPS], rows)
    np.testing.assert_allclose(scores, expected, atol=1e-5)


def test_the_clean_point_of_all_activation_paths_is_run_once(task):
    """There are five groups, with two later points each."""
    runs = []

    def loss(logits, batch):
        jax.debug.callback(lambda: runs.append(1))
        return cross_entropy(logits, batch)

    METHODS["eap_ig_activations"](*task, loss, steps=3)
    jax.effects_barrier()
    assert len(runs) == 1 + 5 * 2


def test_one_step_of_a_path_to_the_other_input_is_eap(task):
    params, config, batch = task
    eap = METHODS["eap"](params, config, batch, cross_entropy)
    for name in ("eap_ig_inputs", "eap_ig_activations"):
        scores = METHODS[name](params, config, batch, cross_entropy, steps=1)
        np.testing.assert_allclose(scores, eap, atol=1e-5, err_msg=name)
    nap = METHODS["nap"](params, config, batch, cross_entropy)
    np.testing.assert_allclose(nap, eap.sum(1), atol=1e-5)


def test_node_attribution_is_the_gradient_of_the_node_mask(task):
    params, config, batch = task

    @jax.jit
    def gradient(mask):
        def value(mask):
            logits, _ = forward(params, config, batch.clean, NodePatch(mask, batch.source))
            return cross_entropy(logits, batch)

        return jax.grad(value)(mask)

    nap = METHODS["nap"](params, config, batch, cross_entropy)
    np.testing.assert_allclose(nap, gradient(jnp.zeros(7)), atol=1e-5)


def test_the_guided_path_takes_steps_of_length_one_down_the_distance(task):
    params, config, batch = task
    difference, only_input = batch.source - batch.written, jnp.eye(7)[0]
    goal = forward(params, config, batch.corrupted)[0]

    def patch(value):
        return NodePatch(only_input, batch.source.at[:, :, 0].set(value))

    @jax.jit
    @jax.value_and_grad
    def distance(value):
        logits = forward(params, config, batch.clean, patch(value))[0]
        return ((logits - goal) ** 2 * batch.positions[:, :, None]).sum()

    points = [batch.written[:, :, 0]]
    for _ in range(2):
        slope = np.asarray(distance(points[-1])[1])
        length = np.sqrt((slope**2).sum((1, 2), keepdims=True))
        points.append(points[-1] - jnp.asarray(slope / length))
    assert distance(points[1])[0] < distance(points[0])[0]
    at = jax.jit(lambda value: gradients_at(params, config, batch, patch(value))[0])
    gradients = [at(value) for value in points[1:]]
    expected = np.einsum("bpwd,bprd->wr", difference, sum(gradients) / 2) * Graph.of(config).valid
    scores = METHODS["eap_gp"](params, config, batch, cross_entropy, steps=2)
    np.testing.assert_allclose(scores, expected, atol=1e-5)


@pytest.mark.parametrize("name", ["eap_ig_inputs", "eap_ig_activations", "eap_gp", "nap_ig"])
def test_paths_need_a_step(task, name):
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        METHODS[name](*task, cross_entropy, steps=0)
