"""Batches that do not store the writers' outputs: same results, constant memory."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from interpbench_jax.discovery import (
    DISCOVERY_ABLATIONS,
    METHODS,
    contrast_batch,
    rows,
)
from interpbench_jax.discovery.losses import cross_entropy
from interpbench_jax.model import Graph, init_params
from tests.discovery.test_methods import KNOBS, OF_EACH_KIND, WITHOUT_WEIGHTS

# In fast tests: learnt masks take as long as all others together.
OFTEN = OF_EACH_KIND - {"edge_probing"} | {"information_flow_routes", "activation_magnitude"}
INPUTS: dict[str, Any] = {
    "clean": jnp.array([[0, 1, 2], [0, 3, 1], [0, 2, 2], [0, 1, 3]]),
    "corrupted": jnp.array([[0, 3, 1], [0, 1, 2], [0, 1, 3], [0, 2, 0]]),
    "target": jnp.array([[0, 1, 2], [0, 2, 0], [0, 1, 1], [0, 0, 2]]),
    "positions": jnp.array([[0.0, 1.0, 1.0], [0.0, 1.0, 0.0], [0.0, 1.0, 1.0], [0.0, 1.0, 0.0]]),
}


@pytest.fixture
def three_at_once(monkeypatch):
    """Four rows make two chunks; the second is filled with copies."""
    chunks = jnp.array([[0, 1, 2], [3, 3, 3]]), jnp.array([[0, 1, 2], [3, 4, 5]])
    monkeypatch.setattr(rows, "row_chunks", lambda *_: chunks)


@pytest.mark.parametrize("ablation", DISCOVERY_ABLATIONS)
def test_sources_are_the_same(ablation, one_layer, make_params, three_at_once):
    params = make_params(one_layer, seed=1)
    held, not_held = (
        contrast_batch(
            params, one_layer, **INPUTS, ablation=ablation, loss=cross_entropy, most_held=most
        )
        for most in (10**6, 0)
    )
    assert held.written is not None and held.source is not None and not_held.written is None
    np.testing.assert_allclose(not_held.clean_logits, held.clean_logits, atol=1e-5)
    found = rows.part_of(params, one_layer, not_held)
    np.testing.assert_allclose(found.written, held.written, atol=1e-5)
    np.testing.assert_allclose(found.source, held.source, atol=1e-4)
    some = rows.part_of(params, one_layer, not_held, jnp.array([3, 1]))
    np.testing.assert_allclose(some.source, held.source[jnp.array([3, 1])], atol=1e-4)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in OFTEN else pytest.mark.slow)
        for name in METHODS
        if name not in WITHOUT_WEIGHTS
    ],
)
def test_scores_are_the_same(name, one_layer, make_params, three_at_once):
    params, found = make_params(one_layer), []
    for most in (10**6, 0):
        batch = contrast_batch(params, one_layer, **INPUTS, most_held=most)
        found.append(METHODS[name](params, one_layer, batch, cross_entropy, **KNOBS.get(name, {})))
    assert np.isfinite(found[0]).any() and np.abs(found[0]).max() > 1e-3
    np.testing.assert_allclose(found[1], found[0], rtol=1e-4, atol=1e-5)


def test_inputs_may_be_numpy_arrays(one_layer, make_params, no_shape_checks):
    given = {k: np.asarray(v) if isinstance(v, jax.Array) else v for k, v in INPUTS.items()}
    params = make_params(one_layer)
    ours, expected = (
        contrast_batch(params, one_layer, **inputs, most_held=0) for inputs in (given, INPUTS)
    )
    np.testing.assert_array_equal(ours.clean_logits, expected.clean_logits)


def test_nan_in_a_part_is_found(one_layer, make_params):
    params = make_params(one_layer)
    broken = {**params, "embed": {"W_E": jnp.full_like(params["embed"]["W_E"], jnp.nan)}}
    with pytest.raises(ValueError, match="resample ablation gives NaN for input"):
        contrast_batch(broken, one_layer, **INPUTS, most_held=0)


def bytes_held(function, *arguments):
    """Bytes of temporaries and results of a compiled function."""
    compiled = jax.jit(function).lower(*arguments).compile()
    memory = compiled.memory_analysis()
    assert memory is not None
    return memory.temp_size_in_bytes + memory.output_size_in_bytes


@pytest.mark.parametrize(
    "name",
    [
        "eap",
        "information_flow_routes",
        pytest.param("node_patching", marks=pytest.mark.slow),
        pytest.param("edge_probing", marks=pytest.mark.slow),
    ],
)
def test_memory_is_that_of_a_few_rows(name, small):
    """For a model with many writers and many inputs, which is compiled but not run."""
    config = dataclasses.replace(small, n_layers=6, n_heads=4, d_model=32)
    params = jax.eval_shape(lambda key: init_params(config, key), jax.random.key(0))
    tokens = jax.ShapeDtypeStruct((40_000, config.n_ctx), "int32")
    positions = jax.ShapeDtypeStruct(tokens.shape, "float32")

    def batch(params, tokens, positions):
        return contrast_batch(params, config, tokens, tokens, tokens, positions, most_held=0)

    written = 4 * tokens.size * Graph.of(config).n_writers * config.d_model
    assert bytes_held(batch, params, tokens, positions) < written / 8
    given = jax.eval_shape(batch, params, tokens, positions)

    def method(params, batch):
        return METHODS[name](params, config, batch, cross_entropy, **KNOBS.get(name, {}))

    assert bytes_held(method, params, given) < written / 8
