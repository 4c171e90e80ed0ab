"""NaN is wrong: it never counts as a right answer or as no effect."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from interpbench_jax.benchmark.evaluate import evaluate_jointly, validate_model
from interpbench_jax.cli import main
from interpbench_jax.evaluation import (
    ABLATIONS,
    circuit_accuracy,
    edge_effects,
    node_effects,
)
from interpbench_jax.siit import agreement, is_right, validate
from interpbench_jax.siit.train import worst_that_counts
from tests.models import untrained_model

NAN = float("nan")


def test_an_output_with_nan_is_never_right() -> None:
    """The argmax of NaNs is 0, so label 0 would be right in a broken model."""
    logits = jnp.array([[[NAN, NAN], [NAN, 1.0], [2.0, NAN], [2.0, 1.0]]])
    labels = jnp.array([[0, 0, 0, 0]])
    assert is_right(logits, labels).tolist() == [[False, False, False, True]]
    assert agreement(logits, labels, jnp.ones(labels.shape)) == 0.25
    values = jnp.array([[1.0, NAN, NAN]])
    assert not is_right(jnp.array([[[NAN], [1.0], [NAN]]]), values).any()


def with_nan(params, *path):
    """The same weights with NaN as the first number of one of them."""
    name, *rest = path
    if rest:
        return {**params, name: with_nan(params[name], *rest)}
    flat = np.array(params[name])
    flat[(0,) * flat.ndim] = NAN
    return {**params, name: flat}


@pytest.mark.parametrize("categorical", [True, False])
def test_ablating_nodes_of_a_broken_model_has_an_effect(make_model, categorical: bool) -> None:
    model = make_model(2.0, 1.2)
    problem = model.problem([[1, 1, 5]] * 2, [[0, 0, 0]] * 2)
    if not categorical:
        problem = problem._replace(
            base_target=problem.base_target.astype(float),
            source_target=problem.source_target.astype(float),
        )
    params = with_nan(model.params, "unembed", "W_U")
    assert worst_that_counts(validate(params, model.config, problem), jnp.ones(3)) == 0
    for kind in ABLATIONS:
        assert circuit_accuracy(params, model.config, problem, kind) == 0
        found = node_effects(params, model.config, problem, ablation=kind)
        assert (found.accuracy == 1).all()
        if found.kl is not None and found.kl_self is not None:
            assert jnp.isnan(found.kl).all() and jnp.isnan(found.kl_self).all()
        assert (found.kl is not None) == categorical


def test_an_edge_that_brings_nan_has_an_effect(make_model) -> None:
    """NaN never differs by more than a tolerance, and all NaN outputs have the same argmax."""
    model = make_model(2.0, 1.2)
    params = with_nan(model.params, "blocks_0", "mlp", "W_out")
    edges = np.array([[3, 7]])  # m0 -> logits
    base, source = jnp.full((2, 3), 1), jnp.full((2, 3), 2)
    found = edge_effects(params, model.config, base, source, edges, categorical=True)
    assert found.tolist() == [1.0]


def broken_model(case: str):
    """An untrained model with NaN in one weight."""
    model = untrained_model(case)
    params = with_nan(model.params, "blocks_0", "mlp", "b_out")
    return dataclasses.replace(model, params=params)


@pytest.mark.parametrize("case", ["3", "13"])
def test_a_broken_model_is_not_verified(case: str) -> None:
    model = broken_model(case)
    message = f"model of case {case} gives NaN or infinity on .* not finite: blocks_0.mlp.b_out$"
    with pytest.raises(ValueError, match=message):
        validate_model(model, n_pairs=20)
    with pytest.raises(ValueError, match=message):
        evaluate_jointly(model, n_pairs=20)


def test_evaluate_refuses_a_broken_model(monkeypatch, capsys) -> None:
    monkeypatch.setattr(
        "interpbench_jax.cli.evaluate.load_models", lambda names: {"3": broken_model("3")}
    )
    with pytest.raises(SystemExit) as exit_info:
        main(["evaluate", "3", "--n-pairs", "20"])
    assert exit_info.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "gives NaN or infinity" in printed.err and len(printed.err.splitlines()) == 1
