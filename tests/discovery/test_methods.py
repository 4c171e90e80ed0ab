"""Properties of all discovery methods: signature, kind of result, pure, compiled once."""

import functools
import inspect
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from interpbench_jax import discovery
from interpbench_jax.discovery import (
    METHODS,
    NODE_METHODS,
    Learning,
    get_method,
    knobs,
    named_loss,
    usual_loss,
)
from interpbench_jax.discovery.losses import cross_entropy
from interpbench_jax.model import Graph

# Cheap settings for methods that have any; a new method runs with its own defaults.
BRIEF = {"learning": Learning(steps=3, batch_size=2), "key": jax.random.key(1)}
KNOBS: dict[str, dict[str, Any]] = {
    "acdc": {"thresholds": (0.0, 0.02, 0.3)},
    "eap_ig_masks": {"steps": 3},
    "eap_ig_inputs": {"steps": 2},
    "eap_ig_activations": {"steps": 2},
    "eap_gp": {"steps": 2},
    "nap_ig": {"steps": 2},
    "edge_probing": {"penalties": (0.1, 1.0), **BRIEF},
    "node_probing": {"penalties": (0.1, 1.0), **BRIEF},
    "edge_pruning": {"shares": (0.1, 0.3), **BRIEF},
    "uniform_gradient_sampling": {"penalties": (0.1, 1.0), **BRIEF},
    "oracle": {"truth": np.eye(4, 8, dtype=bool)},
}
# Baselines, and methods that only use activations.
WITHOUT_LOSS = {
    "information_flow_routes",
    "random",
    "weight_magnitude",
    "activation_magnitude",
    "structural_prior",
    "oracle",
}
# They call another method, which may be compiled already.
WRAPPERS = {"nap", "nap_ig"}
OF_EACH_KIND = {"eap", "edge_patching", "acdc", "edge_probing"}
WITHOUT_WEIGHTS = {"random", "structural_prior", "oracle"}


def some_often(names):
    """One method of each kind for fast tests, the others for slow ones."""
    return [
        pytest.param(name, marks=() if name in OF_EACH_KIND else pytest.mark.slow)
        for name in METHODS
        if name in names
    ]


traces: list[tuple[int, ...]] = []


def counted_loss(logits, batch):
    """Cross entropy that records each trace."""
    traces.append(logits.shape)
    return cross_entropy(logits, batch)


@pytest.fixture(scope="module", params=METHODS)
def method(request):
    """The name of each method in turn."""
    return request.param


@pytest.fixture(scope="module")
def score(method, one_layer, make_batch):
    """The method as a function of the weights alone."""

    def run(params):
        batch = make_batch(params, one_layer)
        return METHODS[method](params, one_layer, batch, counted_loss, **KNOBS.get(method, {}))

    return run


@pytest.mark.parametrize("name", METHODS)
def test_signature(name):
    """Params, config, batch and loss come first; options are keyword-only and have defaults."""
    parameters = inspect.signature(METHODS[name]).parameters
    data, knobs = list(parameters.values())[:4], list(parameters.values())[4:]
    assert [p.name for p in data] == ["params", "network", "batch", "loss"]
    assert all(p.default is p.empty for p in data)
    assert all(p.kind is p.KEYWORD_ONLY and p.default is not p.empty for p in knobs)


@pytest.mark.parametrize("name", METHODS)
def test_lookup(name):
    assert get_method(name) is METHODS[name]
    for categorical in (True, False):
        assert callable(usual_loss(name, categorical))


def test_methods_can_be_called_by_their_names():
    for name in set(METHODS) - {"random"}:
        assert getattr(discovery, name) is METHODS[name]
    assert discovery.random_scores is METHODS["random"]


def test_losses_must_fit_the_task():
    assert named_loss("cross_entropy", categorical=True) is cross_entropy
    with pytest.raises(ValueError, match="unknown loss 'kl' for values; known: mse_to_clean, mse"):
        named_loss("kl", categorical=False)
    with pytest.raises(ValueError, match="unknown loss 'mae' for labels; known: kl, cross_entropy"):
        named_loss("mae", categorical=True)


def test_unknown_method():
    with pytest.raises(ValueError, match="unknown method 'eapp'.*eap, eap_clean_corrupted, "):
        get_method("eapp")


def test_options_are_those_of_the_method():
    key, truth = jax.random.key(0), np.ones((2, 3), bool)
    assert set(knobs(METHODS["edge_probing"], key=key, truth=truth)) == {"key"}
    assert set(knobs(METHODS["oracle"], key=key, truth=truth)) == {"truth"}
    assert knobs(METHODS["eap"], key=key, truth=truth) == {}


def test_result(score, method, one_layer, make_params):
    """A number per edge, zero off the graph; or one per writer. They are not all equal."""
    scores, graph = np.asarray(score(make_params(one_layer))), Graph.of(one_layer)
    if method in NODE_METHODS:
        assert scores.shape == (graph.n_writers,)
    else:
        assert scores.shape == (graph.n_writers, graph.n_readers)
        np.testing.assert_array_equal(scores[~graph.valid], 0)
        scores = scores[graph.valid]
    assert (np.isfinite(scores) | (scores == np.inf)).all()
    assert len(np.unique(scores)) > 1


def test_same_call_same_result_and_no_second_compilation(score, method, one_layer, make_params):
    """Other weights of the same shape give another result, also without compilation."""
    first = score(make_params(one_layer, 0))
    assert traces or method in WITHOUT_LOSS | WRAPPERS
    traces.clear()
    np.testing.assert_array_equal(score(make_params(one_layer, 0)), first)
    differs = (score(make_params(one_layer, 1)) != first).any()
    assert differs == (method not in WITHOUT_WEIGHTS)
    assert not traces


@pytest.mark.slow
def test_jit_agrees_with_eager(score, one_layer, make_params):
    params = make_params(one_layer)
    with jax.disable_jit():
        eager = score(params)
    np.testing.assert_allclose(score(params), eager, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", some_often(METHODS), indirect=True, scope="module")
def test_vmap_over_models_agrees_with_a_loop(score, one_layer, make_params):
    models = [make_params(one_layer, seed) for seed in (0, 1)]
    together = jax.vmap(score)(jax.tree.map(lambda *leaves: jnp.stack(leaves), *models))
    traces.clear()
    one_by_one = jnp.stack([score(params) for params in models])
    np.testing.assert_allclose(together, one_by_one, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", sorted(set(METHODS) - WITHOUT_LOSS))
def test_a_nan_loss_gives_nan_scores(name, one_layer, make_params, make_batch):
    """The model is finite until it is patched."""
    params = make_params(one_layer)
    batch = make_batch(params, one_layer)
    batch = batch._replace(source=batch.source * jnp.nan)
    scores = METHODS[name](params, one_layer, batch, counted_loss, **KNOBS.get(name, {}))
    assert jnp.isnan(scores).any()


@pytest.mark.parametrize("name", ["acdc", "edge_patching"])
def test_accelerators_run_masks_in_parallel(name, one_layer, make_params, make_batch, monkeypatch):
    """On accelerators, the logits of several runs are one array; on a CPU they are not."""
    params = make_params(one_layer)
    batch = make_batch(params, one_layer)
    n_runs = len(KNOBS["acdc"]["thresholds"]) if name == "acdc" else 3 * 2  # q, k, v of two heads
    found = {}
    for backend in ("cpu", "gpu"):

        def loss(logits, batch):  # a new function each time, so that it is compiled again
            return cross_entropy(logits, batch)

        monkeypatch.setattr(jax, "default_backend", lambda backend=backend: backend)
        score = functools.partial(
            METHODS[name], network=one_layer, loss=loss, **KNOBS.get(name, {})
        )
        program = str(jax.make_jaxpr(score)(params, batch=batch))
        found[backend] = f"f32[{n_runs},{','.join(map(str, batch.clean_logits.shape))}]" in program
    assert found == {"cpu": False, "gpu": True}


@pytest.mark.parametrize("name", some_often(set(METHODS) - WITHOUT_LOSS))
def test_accelerators_compute_the_same(name, one_layer, make_params, make_batch, monkeypatch):
    """They run in parallel what a CPU runs one after the other."""
    params = make_params(one_layer)
    batch, found = make_batch(params, one_layer), []
    for backend in ("cpu", "gpu"):

        def loss(logits, batch):  # a new function each time, so that it is compiled again
            return cross_entropy(logits, batch)

        monkeypatch.setattr(jax, "default_backend", lambda backend=backend: backend)
        found.append(METHODS[name](params, one_layer, batch, loss, **KNOBS.get(name, {})))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-4, atol=1e-6)
