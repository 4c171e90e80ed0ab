"""Interchanges of sets of variables, with free nodes patched from a third input."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from interpbench_jax.alignment import align
from interpbench_jax.alignment.subsets import every_subset
from interpbench_jax.compiler import compile_case
from interpbench_jax.compiler import compiled as compiled_module
from interpbench_jax.evaluation import (
    Interventions,
    abstraction,
    abstraction_targets,
    draw_interventions,
)
from interpbench_jax.siit import make_problem, validate
from interpbench_jax.siit.problem import problem_of_pairs
from interpbench_jax.zoo import load_model
from tests.siit.test_edges import PARITY, some_pairs

KEY = jax.random.key(0)


@pytest.mark.parametrize("name", ["3", "13"])
def test_compiled_models_are_abstracted_by_their_programs(name: str, make_compiled_problem) -> None:
    compiled = compile_case(name)
    problem = make_problem(compiled, align(compiled), KEY, n_pairs=300).take(slice(300))
    problem = make_compiled_problem(compiled, problem)
    drawn = draw_interventions(problem, KEY, 16)
    targets = abstraction_targets(compiled, problem, drawn.variables)
    found = abstraction(compiled.params, compiled.config, problem, drawn, targets)
    assert (found.mean, found.worst) == (1, 1)
    others = abstraction(compiled.params, compiled.config, problem, drawn, targets[::-1])
    assert others.worst < 0.9


def test_one_variable_or_none_is_iia_and_accuracy() -> None:
    model, compiled = load_model("3"), compile_case("3")
    problem = make_problem(compiled, align(compiled), KEY, n_pairs=300).take(slice(300))
    sets = jnp.array([[False, False], [True, False], [False, True]])
    third = jnp.broadcast_to(jnp.arange(300)[::-1][None], (3, 300))
    alone = Interventions(sets, jnp.zeros((3, 8), bool), third)
    targets = abstraction_targets(compiled, problem, sets)
    np.testing.assert_array_equal(targets[0], problem.base_target)
    np.testing.assert_array_equal(targets[1:], problem.variable_targets)
    found = abstraction(model.params, model.config, problem, alone, targets)
    scores = validate(model.params, model.config, problem)
    np.testing.assert_array_equal(found.each, [scores.accuracy, *scores.iia])
    assert found.worst == found.each[found.worst_intervention]


def test_a_free_node_that_does_harm_only_with_an_interchange_is_detected(make_model) -> None:
    model = make_model(0.6, 0.6)
    problem = model.problem([[1, 1, 1]] * 2, [[0, 0, 0]] * 2)
    problem = problem._replace(
        variable_nodes=problem.free_nodes[:1], free_nodes=problem.free_nodes[1:]
    )
    on, off = [True], [False]
    free = jnp.array([[False, False], [False, False], [True, True], [True, True]])
    drawn = Interventions(jnp.array([off, on, off, on]), free, jnp.array([[1, 0]] * 4))
    targets = jnp.zeros((4, 2, 3), int)
    found = abstraction(model.params, model.config, problem, drawn, targets)
    assert found.each.tolist() == [1, 1, 1, 0]
    assert (found.mean, found.worst, found.worst_intervention) == (0.75, 0, 3)


def test_free_nodes_come_from_the_third_input_and_variables_from_the_source(make_model) -> None:
    model = make_model(2.0, 2.0)
    problem = model.problem([[1, 1, 1]] * 2, [[0, 0, 0], [1, 1, 1]])
    problem = problem._replace(
        variable_nodes=problem.free_nodes[:1], free_nodes=problem.free_nodes[1:2]
    )
    third = jnp.array([[0, 0], [1, 1], [1, 0]])
    for variable in (False, True):
        chosen = jnp.full((3, 1), variable), jnp.full((3, 1), not variable)
        targets = jnp.zeros((3, 2, 3), int)
        drawn = Interventions(*chosen, third)
        found = abstraction(model.params, model.config, problem, drawn, targets)
        assert found.each.tolist() == ([0.5, 0.5, 0.5] if variable else [0, 1, 0.5])


@pytest.mark.parametrize(("name", "min_length"), [("3", None), ("13", 8)])
def test_targets_of_sets(name: str, min_length, monkeypatch) -> None:
    compiled = compile_case(name, min_length=min_length)
    problem = make_problem(compiled, align(compiled), KEY, n_pairs=200)
    n_variables = len(compiled.variables)
    every = every_subset(n_variables)
    all_targets = np.asarray(abstraction_targets(compiled, problem, jnp.asarray(every)))
    np.testing.assert_array_equal(all_targets[0], problem.base_target)
    np.testing.assert_array_equal(
        all_targets[2 ** np.arange(n_variables)], problem.variable_targets
    )
    np.testing.assert_array_equal(all_targets[-1], problem.source_target)
    # The same without computing all sets, and by tables.
    few = abstraction_targets(compiled, problem, jnp.asarray(every[[2, 1]]))
    np.testing.assert_array_equal(few, all_targets[[2, 1]])
    monkeypatch.setattr(compiled_module, "_HEAVY", 0)
    by_tables = abstraction_targets(compiled, problem, jnp.asarray(every))
    np.testing.assert_allclose(by_tables, all_targets, atol=1e-5)


def test_sets_of_other_variables_are_refused(no_shape_checks) -> None:
    compiled = compile_case("3")
    problem = make_problem(compiled, align(compiled), KEY, n_pairs=2)
    with pytest.raises(ValueError, match="sets of 3 variables, but the task has 2"):
        abstraction_targets(compiled, problem, np.zeros((1, 3), bool))


def test_variables_at_the_input_are_not_interchanged() -> None:
    task = dataclasses.replace(PARITY, nodes={**PARITY.nodes, "first": "input"})
    problem = problem_of_pairs(task, align(task), some_pairs(20))
    each = np.eye(2, dtype=bool)  # of `last` and `parity`
    found = abstraction_targets(task, problem, each)
    np.testing.assert_array_equal(found, problem.variable_targets)
    assert (found[0] != problem.base_target).any()


def test_third_inputs_have_the_length_of_the_sources(make_model) -> None:
    model, rng = make_model(1.0, 1.0, 1.0), np.random.default_rng(0)
    lengths = rng.integers(1, 3, 50)
    positions = jnp.asarray(np.arange(3)[None] <= lengths[:, None], jnp.float32).at[:, 0].set(0)
    rows = rng.integers(0, 5, (50, 3))
    problem = model.problem(rows, rows, positions)
    problem = problem._replace(variable_nodes=problem.free_nodes[:2])
    drawn = draw_interventions(problem, KEY, 20)
    for third in np.asarray(drawn.third):
        assert sorted(third) == list(range(50))
        np.testing.assert_array_equal(lengths[third], lengths)
    assert (drawn.third != jnp.arange(50)[None]).mean() > 0.8
    assert (drawn.third[0] != drawn.third[1]).any()
    for chosen in (drawn.variables, drawn.free):
        assert 0.2 < chosen.mean() < 0.8
    with pytest.raises(ValueError, match="n_interventions must be at least 1, got 0"):
        draw_interventions(problem, KEY, 0)


def test_parallel_runs_change_nothing_and_a_second_call_does_not_recompile(
    make_model, run_in_parallel
) -> None:
    model = make_model(0.6, 1.1, -0.3)
    problem = model.problem([[1, 1, 1], [2, 1, 2]], [[0, 0, 0], [1, 1, 1]])
    found = []
    for seed in range(2):
        drawn = draw_interventions(problem, jax.random.key(seed), 12)
        targets = jnp.zeros((12, 2, 3), int)
        found.append(abstraction(model.params, model.config, problem, drawn, targets))
        if seed == 0:
            compiled = abstraction._cache_size()  # type: ignore[attr-defined]
    assert abstraction._cache_size() == compiled  # type: ignore[attr-defined]
    run_in_parallel(abstraction, 5)
    parallel = abstraction(model.params, model.config, problem, drawn, targets)
    np.testing.assert_array_equal(parallel.each, found[1].each)
    assert found[1].worst < 1


def test_third_inputs_keep_the_length_if_the_same_positions_count_in_all(make_model) -> None:
    model, rng = make_model(1.0, 1.0, 1.0), np.random.default_rng(0)
    lengths, rows = rng.integers(1, 4, 50), rng.integers(0, 4, (50, 3))
    rows = np.where(np.arange(3)[None] < lengths[:, None], rows, 4)
    problem = model.problem(rows, rows, jnp.zeros((50, 3)).at[:, 0].set(1))
    problem = problem._replace(variable_nodes=problem.free_nodes[:2])
    for third in np.asarray(draw_interventions(problem, KEY, 20, pad=4).third):
        assert sorted(third) == list(range(50))
        np.testing.assert_array_equal(lengths[third], lengths)


def test_third_inputs_keep_the_length_if_only_the_last_position_counts(make_model) -> None:
    model, rng = make_model(1.0, 1.0, 1.0), np.random.default_rng(0)
    last, rows = rng.integers(0, 3, 50), rng.integers(0, 5, (50, 3))
    positions = jnp.asarray(np.arange(3)[None] == last[:, None], jnp.float32)
    problem = model.problem(rows, rows, positions)
    drawn = draw_interventions(problem._replace(variable_nodes=problem.free_nodes[:2]), KEY, 20)
    for third in np.asarray(drawn.third):
        assert sorted(third) == list(range(50))
        np.testing.assert_array_equal(last[third], last)
