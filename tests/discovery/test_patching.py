"""Exact effects compared with the slow reference, and runs that are reused."""

import jax.numpy as jnp
import numpy as np
import pytest

from interpbench_jax.discovery import acdc_circuits, edge_patching, node_patching, removal_order
from interpbench_jax.discovery.losses import cross_entropy, kl_to_clean
from interpbench_jax.model import EdgePatch, Graph, forward, transformer_graph
from interpbench_jax.model.forward import forward_from
from tests.model import numpy_reference


@pytest.fixture(scope="module")
def task(small, make_params, make_batch):
    """Weights of the two-layer model and inputs."""
    params = make_params(small, seed=1)
    return params, small, make_batch(params, small)


def test_every_edge_alone(task):
    params, config, batch = task
    graph = Graph.of(config)
    scores = np.asarray(edge_patching(params, config, batch, cross_entropy))
    source = numpy_reference.forward(params, config, batch.corrupted)[1]
    clean = cross_entropy(batch.clean_logits, batch)
    for w, r in graph.edges:
        edge = {(graph.writers[w], graph.readers[r]): 1.0}
        logits, _ = numpy_reference.forward(params, config, batch.clean, edges=edge, source=source)
        rise = cross_entropy(jnp.asarray(logits, jnp.float32), batch) - clean
        np.testing.assert_allclose(scores[w, r], rise, atol=1e-5, err_msg=str(edge))
    assert (np.abs(scores[graph.valid]) > 1e-4).mean() > 0.5


def test_every_writer_alone(task):
    """Also the input: if it is replaced, the outputs are those on the source."""
    params, config, batch = task
    graph = Graph.of(config)
    scores = np.asarray(node_patching(params, config, batch, cross_entropy))
    source = numpy_reference.forward(params, config, batch.corrupted)[1]
    clean = cross_entropy(batch.clean_logits, batch)
    for w in range(graph.n_writers):
        nodes = {graph.writers[w]: 1.0}
        logits, _ = numpy_reference.forward(params, config, batch.clean, nodes=nodes, source=source)
        rise = cross_entropy(jnp.asarray(logits, jnp.float32), batch) - clean
        np.testing.assert_allclose(scores[w], rise, atol=1e-5)
    assert (np.abs(scores) > 1e-4).all()


@pytest.mark.parametrize(
    "stage", [1, 4, *(pytest.param(stage, marks=pytest.mark.slow) for stage in (0, 2, 3))]
)
def test_a_run_can_start_where_a_patch_begins(config, make_params, tokens, other_tokens, stage):
    """With every edge from that stage on patched, in all three tiny models."""
    params, graph = make_params(config), Graph.of(config)
    _, written = forward(params, config, tokens)
    _, source = forward(params, config, other_tokens)
    mask = jnp.asarray((graph.stages >= stage) * np.ones((graph.n_writers, 1)), jnp.float32)
    patch = EdgePatch(0.7 * mask, source)
    expected, _ = forward(params, config, tokens, patch)
    found = forward_from(params, config, tokens, stage, written, patch)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    later_patch = EdgePatch(0.7 * jnp.where(graph.stages == stage, mask, 0.0), source)
    expected, _ = forward(params, config, tokens, later_patch)
    found = forward_from(params, config, tokens, stage, written, later_patch, only_there=True)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_acdc_decides_equally_with_and_without_reuse(task):
    """Also in an order with later readers after earlier ones."""
    params, config, batch = task
    levels = jnp.array([0.003, 0.03])
    for order in (removal_order(Graph.of(config)), removal_order(Graph.of(config))[::-1]):
        found = [
            acdc_circuits(params, config, batch, kl_to_clean, levels, order, reuse=reuse)
            for reuse in (True, False)
        ]
        np.testing.assert_array_equal(found[0].kept, found[1].kept)
        np.testing.assert_allclose(found[0].loss, found[1].loss, atol=1e-6)


def test_acdc_reports_the_loss_of_its_circuits(task):
    params, config, batch = task
    graph = Graph.of(config)
    levels = jnp.array([0.003, 0.03])
    found = acdc_circuits(params, config, batch, kl_to_clean, levels, removal_order(graph))
    for kept, loss in zip(found.kept, found.loss, strict=True):
        patch = EdgePatch(jnp.asarray(~kept & graph.valid, jnp.float32), batch.source)
        logits, _ = forward(params, config, batch.clean, patch)
        np.testing.assert_allclose(kl_to_clean(logits, batch), loss, atol=1e-6)
    # Two thresholds share runs until their decisions differ.
    assert len(graph.edges) < found.evaluations < 2 * len(graph.edges)


def test_orders(no_shape_checks):
    graph = transformer_graph(1, 1)
    names = [
        f"{graph.writers[w]}->{graph.readers[r]}"
        for w, r in removal_order(graph, "first_writer_first")
    ]
    assert names[:4] == ["input->logits", "a0.h0->logits", "m0->logits", "input->m0"]
    with pytest.raises(ValueError, match="order must be one of last_writer_first, .*'random'"):
        removal_order(graph, "random")  # type: ignore[arg-type]
