"""What holds for every discovery method: one signature, one kind of result, pure, compiled once."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from interpbench_jax.discovery import METHODS, get_method, usual_loss
from interpbench_jax.discovery.losses import cross_entropy
from interpbench_jax.model import Graph

# Cheap settings for methods that have any; a new method runs with its own defaults.
KNOBS = {"acdc": {"thresholds": (0.0, 0.02, 0.3)}, "eap_ig_masks": {"steps": 3}}

traces: list[tuple[int, ...]] = []


def counted_loss(logits, batch):
    """Cross entropy that notes each time it is traced."""
    traces.append(logits.shape)
    return cross_entropy(logits, batch)


@pytest.fixture(scope="module", params=METHODS)
def score(request, one_layer, make_batch):
    """Each method as a function of the weights alone."""

    def run(params):
        knobs = KNOBS.get(request.param, {})
        batch = make_batch(params, one_layer)
        return METHODS[request.param](params, one_layer, batch, counted_loss, **knobs)

    return run


@pytest.mark.parametrize("name", METHODS)
def test_signature(name):
    """Params, config, batch and loss come first; knobs are keyword-only and have defaults."""
    parameters = inspect.signature(METHODS[name]).parameters
    data, knobs = list(parameters.values())[:4], list(parameters.values())[4:]
    assert [p.name for p in data] == ["params", "config", "batch", "loss"]
    assert all(p.default is p.empty for p in data)
    assert all(p.kind is p.KEYWORD_ONLY and p.default is not p.empty for p in knobs)


@pytest.mark.parametrize("name", METHODS)
def test_lookup(name):
    assert get_method(name) is METHODS[name]
    for categorical in (True, False):
        assert callable(usual_loss(name, categorical))


def test_unknown_method():
    with pytest.raises(ValueError, match="unknown method 'eapp'.*eap, eap_ig_masks, acdc"):
        get_method("eapp")


def test_result(score, one_layer, make_params):
    """`[writer, reader]`, zero off the graph, numbers on it, and not all of them the same."""
    scores, graph = np.asarray(score(make_params(one_layer))), Graph.of(one_layer)
    assert scores.shape == (graph.n_writers, graph.n_readers)
    np.testing.assert_array_equal(scores[~graph.valid], 0)
    assert (np.isfinite(scores) | (scores == np.inf)).all()
    assert len(np.unique(scores[graph.valid])) > 1


def test_same_call_same_result_and_no_second_compilation(score, one_layer, make_params):
    """Other weights of the same shape neither; and they give another result."""
    first = score(make_params(one_layer, 0))
    assert traces
    traces.clear()
    np.testing.assert_array_equal(score(make_params(one_layer, 0)), first)
    assert (score(make_params(one_layer, 1)) != first).any()
    assert not traces


@pytest.mark.slow
def test_jit_agrees_with_eager(score, one_layer, make_params):
    params = make_params(one_layer)
    with jax.disable_jit():
        eager = score(params)
    np.testing.assert_allclose(score(params), eager, rtol=1e-4, atol=1e-5)


def test_vmap_over_models_agrees_with_a_loop(score, one_layer, make_params):
    models = [make_params(one_layer, seed) for seed in (0, 1)]
    together = jax.vmap(score)(jax.tree.map(lambda *leaves: jnp.stack(leaves), *models))
    one_by_one = jnp.stack([score(params) for params in models])
    np.testing.assert_allclose(together, one_by_one, rtol=1e-4, atol=1e-5)
