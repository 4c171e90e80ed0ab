"""ACDC compared with a slow loop over edges, and on a model with known effects."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from interpbench_jax.discovery import acdc, acdc_circuits, contrast_batch, removal_order
from interpbench_jax.discovery.acdc import matters
from interpbench_jax.discovery.losses import kl_to_clean, squared_error_to_clean
from interpbench_jax.model import Graph, TransformerConfig, transformer_graph
from tests.model import numpy_reference

acdc_module = sys.modules[acdc.__module__]  # the package's name for it is the function
LEVELS = (0.003, 0.01, 0.03, 0.1)
# No decision may be closer than this, or it would depend on rounding.
MARGIN = 1e-5


def kl_reference(logits, batch):
    """KL divergence from the clean output over counted positions, in NumPy."""

    def log_softmax(x):
        x = np.asarray(x, np.float64)
        return x - np.log(np.exp(x).sum(-1, keepdims=True))

    clean, patched = log_softmax(batch.clean_logits), log_softmax(logits)
    divergence = (np.exp(clean) * (clean - patched)).sum(-1)
    positions = np.asarray(batch.positions)
    return (divergence * positions).sum() / positions.sum()


def slow_acdc(params, config, batch, threshold, order):
    """Names of the kept edges; the slow reference tries one edge after another."""
    graph = Graph.of(config)
    source = numpy_reference.forward(params, config, batch.corrupted)[1]
    removed: dict[tuple[str, str], float] = {}

    def loss(edges):
        logits, _ = numpy_reference.forward(params, config, batch.clean, edges=edges, source=source)
        return kl_reference(logits, batch)

    current = loss(removed)
    for w, r in order:
        tried = removed | {(graph.writers[w], graph.readers[r]): 1.0}
        value = loss(tried)
        assert abs(value - current - threshold) > MARGIN, "choose another seed"
        if value - current < threshold:
            removed, current = tried, value
    return {(graph.writers[w], graph.readers[r]) for w, r in graph.edges} - set(removed)


def names(graph, kept):
    return {(graph.writers[w], graph.readers[r]) for w, r in np.argwhere(kept)}


def test_removal_order_of_one_layer():
    """The last reader comes first, with its last writer first."""
    graph = transformer_graph(1, 1)
    order = [f"{graph.writers[w]}->{graph.readers[r]}" for w, r in removal_order(graph)]
    assert order == [
        *("m0->logits", "a0.h0->logits", "input->logits", "a0.h0->m0", "input->m0"),
        *("input->a0.h0<v>", "input->a0.h0<k>", "input->a0.h0<q>"),
    ]


def test_removal_order_has_every_edge_once():
    graph = transformer_graph(2, 3)
    order = sorted(tuple(edge) for edge in removal_order(graph).tolist())
    assert order == [tuple(edge) for edge in graph.edges.tolist()]


@pytest.fixture(scope="module")
def task(small, make_params, make_batch):
    """Weights and inputs, and ACDC's circuits at each level."""
    params = make_params(small, seed=1)
    batch = make_batch(params, small)
    order = removal_order(Graph.of(small))
    levels = jnp.array(LEVELS)
    return params, batch, acdc_circuits(params, small, batch, kl_to_clean, levels, order).kept


@pytest.mark.parametrize(
    "level", [0, *(pytest.param(level, marks=pytest.mark.slow) for level in (1, 2, 3))]
)
def test_agrees_with_a_slow_loop(small, task, level):
    params, batch, kept = task
    graph = Graph.of(small)
    expected = slow_acdc(params, small, batch, LEVELS[level], removal_order(graph))
    assert 0 < len(expected) < len(graph.edges)
    assert names(graph, kept[level]) == expected


def test_agrees_with_a_slow_loop_in_another_order(small, task):
    """Given as an argument; the circuits differ from those of the usual order."""
    params, batch, usual = task
    graph = Graph.of(small)
    kept = acdc_circuits(
        params, small, batch, kl_to_clean, jnp.array(LEVELS), removal_order(graph)[::-1]
    ).kept
    expected = slow_acdc(params, small, batch, LEVELS[1], removal_order(graph)[::-1])
    assert names(graph, kept[1]) == expected != names(graph, usual[1])


def test_edges_without_a_path_to_the_logits_do_not_matter():
    """Without a1.h0->logits, edges into a1.h0 are dead ends; other thresholds are unaffected."""
    graph = transformer_graph(2, 1)
    kept = np.stack([graph.valid, graph.valid])
    kept[0, :, -1] = [name in ("input", "m0") for name in graph.writers]
    kept[0, graph.writer_index("a0.h0"), graph.reader_index("m0")] = False
    found = np.asarray(matters(graph, jnp.asarray(kept)))
    assert [name for name, does in zip(graph.readers, found[0], strict=True) if does] == [
        *("m0", "logits"),
    ]
    assert found[1].all()


def test_edges_that_do_not_matter_are_not_tried(small, task):
    params, batch, _ = task
    order = removal_order(Graph.of(small))
    found = acdc_circuits(params, small, batch, kl_to_clean, jnp.array([1e3]), order)
    assert not found.kept.any()
    n_to_logits = int((order[:, 1] == order[:, 1].max()).sum())
    assert found.evaluations == n_to_logits  # no other edge has a path to the logits then


def test_score_is_the_smallest_level_that_removes(small, task):
    """A larger score means a more costly edge; infinity if no threshold removes it."""
    params, batch, kept = task
    scores = acdc(params, small, batch, kl_to_clean, thresholds=LEVELS)
    graph = Graph.of(small)
    for w, r in graph.edges:
        removing = [level for level, circuit in zip(LEVELS, kept, strict=True) if not circuit[w, r]]
        assert scores[w, r] == np.float32(min(removing, default=np.inf))
    assert {np.inf, *np.array(LEVELS, np.float32)} <= set(np.unique(scores))


def test_one_edge_of_known_effect(make_params):
    """Heads and MLP ignore their inputs, so only input->logits has a cost: exactly 4.

    The input writes 1 for token 1 and 3 for token 3, and that is the output.
    """
    config = TransformerConfig(
        n_layers=1, n_heads=1, d_model=1, d_head=1, d_mlp=1, n_ctx=3, d_vocab=4, d_vocab_out=1
    )
    params = jax.tree.map(jnp.zeros_like, dict(make_params(config)))
    params["embed"]["W_E"] = jnp.array([[0.0], [1.0], [0.0], [3.0]])
    params["unembed"]["W_U"] = jnp.ones((1, 1))
    batch = contrast_batch(
        params,
        config,
        clean=jnp.array([[0, 1, 1]]),
        corrupted=jnp.array([[0, 3, 3]]),
        target=jnp.zeros((1, 3)),
        positions=jnp.array([[0.0, 1.0, 1.0]]),
    )
    np.testing.assert_array_equal(batch.clean_logits, jnp.array([[[0.0], [1.0], [1.0]]]))
    graph = Graph.of(config)
    for levels, at_input in [((0.0, 0.5, 3.5, 4.5), 4.5), ((0.0, 0.5, 3.0, 4.0), np.inf)]:
        scores = acdc(params, config, batch, squared_error_to_clean, thresholds=levels)
        # A threshold of 4 does not remove a cost of 4, nor a threshold of 0 a cost of 0.
        expected = np.where(graph.valid, 0.5, 0.0)
        expected[0, -1] = at_input
        np.testing.assert_array_equal(scores, expected)


@pytest.mark.parametrize("at_once", [2, pytest.param(5, marks=pytest.mark.slow)])
def test_running_thresholds_in_parallel_changes_nothing(small, task, monkeypatch, at_once):
    """Two of five thresholds at once, or all; edges that do not matter are not run."""
    params, batch, _ = task
    order, levels = removal_order(Graph.of(small)), jnp.array([*LEVELS, 1e3])
    runs = []

    def loss(logits, batch):
        jax.debug.callback(lambda: runs.append(1))
        return kl_to_clean(logits, batch)

    usual = acdc_circuits(params, small, batch, loss, levels, order)
    jax.effects_barrier()
    assert len(runs) == usual.evaluations + 1  # and the clean run
    monkeypatch.setattr(acdc_module, "runs_at_once", lambda *_: at_once)
    acdc_module._acdc.clear_cache()
    found = acdc_circuits(params, small, batch, loss, levels, order)
    np.testing.assert_array_equal(found.kept, usual.kept)
    np.testing.assert_allclose(found.loss, usual.loss, atol=1e-6)
    assert found.evaluations == usual.evaluations
    runs.clear()
    never = acdc_circuits(params, small, batch, loss, levels[-1:], order)
    jax.effects_barrier()
    assert len(runs) == never.evaluations + 1 < len(order)


@pytest.mark.parametrize("thresholds", [(), (0.1, 0.0), (0.0, 0.5, 0.5), (0.3, 0.7, 0.2)])
def test_thresholds_ascend(small, make_params, make_batch, thresholds):
    params = make_params(small)
    text = str(thresholds).replace("(", r"\(").replace(")", r"\)")
    with pytest.raises(ValueError, match=f"ascending and distinct, got {text}"):
        acdc(params, small, make_batch(params, small), kl_to_clean, thresholds=thresholds)


@pytest.mark.parametrize(
    ("thresholds", "value"),
    [((-0.5, 0.1), "-0.5"), ((0.0, np.inf), "inf"), ((np.nan,), "nan"), ((0.1, np.nan), "nan")],
)
def test_thresholds_are_not_negative(small, make_params, make_batch, thresholds, value):
    params = make_params(small)
    with pytest.raises(ValueError, match=f"finite and at least 0, got {value}"):
        acdc(params, small, make_batch(params, small), kl_to_clean, thresholds=thresholds)
