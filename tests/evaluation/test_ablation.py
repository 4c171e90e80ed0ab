"""Values of ablated nodes, and the accuracy of the ablated model."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from interpbench_jax.evaluation import (
    ABLATIONS,
    ablation_source,
    circuit_accuracy,
    node_effects,
)
from interpbench_jax.evaluation.ablation import Ablation
from interpbench_jax.evaluation.circuit_accuracy import _accuracy
from interpbench_jax.evaluation.node_effects import _effects
from interpbench_jax.siit import validate

WRITERS = jnp.array([[[[1.0, 0.0]], [[2.0, 4.0]]], [[[5.0, 0.0]], [[0.0, 8.0]]]])
EXPECTED = {
    "resample": WRITERS[:, :, 0].tolist(),
    "mean": [[[2, 3], [2, 3]], [[2, 3], [2, 3]]],
    "mean_per_position": [[[3, 0], [1, 6]], [[3, 0], [1, 6]]],
    "zero": [[[0, 0], [0, 0]], [[0, 0], [0, 0]]],
}


@pytest.mark.parametrize("kind", ABLATIONS)
def test_sources_by_hand(kind: Ablation) -> None:
    found = ablation_source(WRITERS, kind, jnp.ones((2, 2)))
    assert found.shape == WRITERS.shape
    assert found[:, :, 0].tolist() == EXPECTED[kind]


def test_unknown_ablation(no_shape_checks) -> None:
    with pytest.raises(ValueError, match="unknown ablation 'median'; known: resample, mean"):
        ablation_source(WRITERS, "median", jnp.ones((2, 2)))  # type: ignore[arg-type]


def test_means_leave_out_positions_of_weight_zero() -> None:
    """BOS has value 100, padding 1000; the second input is shorter. Nonzero weights are equal."""
    rows = jnp.array([[100.0, 1.0, 3.0, 1000.0], [100.0, 5.0, 1000.0, 1000.0]])
    positions = jnp.array([[0.0, 1.0, 4.0, 0.0], [0.0, 1.0, 0.0, 0.0]])
    mean, per_position = (
        ablation_source(rows[:, :, None, None], kind, positions)[..., 0, 0]
        for kind in ("mean", "mean_per_position")
    )
    assert mean.tolist() == [[3.0] * 4] * 2
    assert per_position.tolist() == [[100.0, 3.0, 3.0, 1000.0]] * 2


def test_rows_that_only_fill_the_batch_have_no_part_in_means() -> None:
    rows = jnp.array([[1.0, 2.0], [3.0, 4.0], [50.0, 60.0]])[:, :, None, None]
    positions = jnp.array([[0.0, 1.0], [0.0, 1.0], [0.0, 0.0]])
    found = ablation_source(rows, "mean_per_position", positions)[..., 0, 0]
    assert found.tolist() == [[2.0, 3.0]] * 3


def test_padding_has_no_part_in_means_of_a_model(make_model) -> None:
    """Only padding is token 0, at which heads write, so ablating these nodes changes nothing."""
    model = make_model(2.0, 1.2)
    counted = jnp.array([[0.0, 1.0, 0.0], [0.0, 1.0, 1.0]])
    problem = model.problem([[1, 1, 0], [1, 1, 1]], [[2, 2, 0], [2, 2, 2]], counted)
    for kind in ("mean", "mean_per_position"):
        assert circuit_accuracy(model.params, model.config, problem, kind) == 1
        found = node_effects(model.params, model.config, problem, ablation=kind)
        assert found.accuracy[1:].tolist() == [0, 0, 0]


# Three of four sources shift by 0.6 and 0.7, one does not; counted margins are 1, 1 or 5.
SOURCES = [[0, 0, 0], [0, 0, 0], [0, 0, 0], [1, 1, 1]]
ACCURACY = {"resample": 1 - 3 / 8, "mean": 1.0, "mean_per_position": 1.0, "zero": 1.0}


@pytest.mark.parametrize("kind", ABLATIONS)
def test_accuracy_of_the_circuit_by_hand(make_model, kind: Ablation) -> None:
    model = make_model(0.6, 0.7)
    problem = model.problem([[1, 1, 5]] * 4, SOURCES)
    assert circuit_accuracy(model.params, model.config, problem, kind) == ACCURACY[kind]


@pytest.mark.parametrize("kind", ABLATIONS)
def test_node_effects_by_hand(make_model, kind: Ablation) -> None:
    model = make_model(2.0, 1.2)
    problem = model.problem([[1, 1, 5]] * 4, SOURCES)
    found = node_effects(model.params, model.config, problem, ablation=kind)
    # The mean of the shifts is 3/4 of them: 1.5 and 0.9 against margins of 1 and 5.
    first, second = {"resample": (3 / 8, 3 / 8), "zero": (0, 0)}.get(kind, (1 / 2, 0))
    assert found.accuracy[1:].tolist() == [first, second, 0]


def test_without_ablated_nodes_it_is_plain_accuracy(make_model) -> None:
    model = make_model(0.5, 1.5)
    problem = model.problem([[0, 0, 0], [1, 1, 5], [2, 2, 2], [3, 3, 3]], SOURCES)
    assert validate(model.params, model.config, problem).accuracy == 0.75
    nothing = problem._replace(free_nodes=problem.free_nodes[:0])
    for kind in ABLATIONS:
        assert circuit_accuracy(model.params, model.config, nothing, kind) == 0.75


def test_a_mean_over_equal_sources_is_that_source(make_model) -> None:
    model = make_model(1.5, 0.7)
    problem = model.problem([[1, 1, 2], [2, 1, 1]], [[0, 0, 0], [0, 0, 0]])
    resampled, *others = (
        node_effects(model.params, model.config, problem, ablation=kind) for kind in ABLATIONS[:3]
    )
    assert resampled.accuracy[1] == 0.75
    for other in others:
        for form in ("accuracy", "kl", "kl_self"):
            np.testing.assert_allclose(getattr(other, form), getattr(resampled, form), atol=1e-6)


def test_parallel_runs_change_no_effect(make_model, run_in_parallel) -> None:
    model = make_model(0.5, 0.25, 0.125)
    problem = model.problem([[1, 1, 2], [2, 1, 1]], [[0, 0, 0], [0, 0, 0]])
    usual = node_effects(model.params, model.config, problem)
    run_in_parallel(_effects, 2)
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-5),
        node_effects(model.params, model.config, problem),
        usual,
    )


def test_all_ablations_are_compiled_once(make_model) -> None:
    model = make_model(0.5, 0.25, 0.125)
    problem = model.problem([[1, 1, 2], [2, 1, 1]], [[0, 0, 0], [0, 0, 0]])
    before = [f._cache_size() for f in (_accuracy, _effects)]  # type: ignore[attr-defined]
    for kind in ABLATIONS:
        circuit_accuracy(model.params, model.config, problem, kind)
        node_effects(model.params, model.config, problem, ablation=kind)
    after = [f._cache_size() for f in (_accuracy, _effects)]  # type: ignore[attr-defined]
    assert [b - a for a, b in zip(before, after, strict=True)] == [1, 1]
