"""Subsets of free nodes: joint effects, and all subsets compared with a search."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from interpbench_jax.alignment import align
from interpbench_jax.alignment.subsets import every_subset
from interpbench_jax.compiler import compile_case
from interpbench_jax.evaluation import leakage, subset_agreement
from interpbench_jax.siit import make_problem, validate
from interpbench_jax.zoo import load_model

KEY = jax.random.key(0)
SHIFTED = np.zeros((4, 3), int)


def test_every_subset_occurs_once() -> None:
    np.testing.assert_array_equal(every_subset(2), [[0, 0], [1, 0], [0, 1], [1, 1]])
    assert len(np.unique(every_subset(5), axis=0)) == 32
    assert every_subset(0).shape == (1, 0)


def test_nodes_that_are_harmless_alone_are_detected_together(make_model) -> None:
    model = make_model(0.6, 0.0, 0.7, -0.1)
    problem = model.problem([[1, 1, 5]] * 4, SHIFTED)
    assert (validate(model.params, model.config, problem).siia == 1).all()
    found = leakage(model.params, model.config, problem, KEY)
    # 8 of 32 subsets have both shifts, which make the first of two positions wrong.
    assert found.mean == 0.25 * 0.5
    assert found.worst == 0.5
    assert found.worst_nodes.tolist() == [True, False, True, False, False]
    assert found.worst_position == 1
    assert found.per_position.tolist() == [0, 1, 0]


def test_nodes_that_cancel_are_harmless_together(make_model) -> None:
    model = make_model(1.5, -1.5)
    problem = model.problem([[1, 1, 5]] * 4, SHIFTED)
    subsets = jnp.array([[False, False, False], [True, False, True], [True, True, False]])
    agreed, at_position = subset_agreement(model.params, model.config, problem, subsets)
    assert agreed.tolist() == [1, 0.5, 1]
    assert at_position.tolist() == [[1, 1, 1], [1, 0, 1], [1, 1, 1]]


SHIFTS = np.array([0.4, 1.1, 1.3, 0.7])
MARGINS = np.array([[2, 1, 2], [2, 3, 4], [2, 1, 5], [2, 4, 2]])


def test_all_subsets_by_hand(make_model) -> None:
    model = make_model(*SHIFTS)
    problem = model.problem(MARGINS, SHIFTED)
    found = leakage(model.params, model.config, problem, KEY)
    missed = MARGINS[:, 1:] < (every_subset(5)[:, :4] @ SHIFTS)[:, None, None]
    assert found.mean == pytest.approx(missed.mean(), abs=1e-6)
    assert found.worst == pytest.approx(missed.mean((1, 2)).max(), abs=1e-6)
    np.testing.assert_allclose(found.per_position[1:], missed.mean(1).max(0), atol=1e-6)


def test_positions_have_the_weights_of_the_problem(make_model) -> None:
    model = make_model(*SHIFTS)
    positions = np.array([[0, 1, 1], [0, 1, 0], [0, 1, 1], [0, 1, 0]], np.float32)
    problem = model.problem(MARGINS, SHIFTED, jnp.asarray(positions))
    found = leakage(model.params, model.config, problem, KEY)
    missed = (MARGINS < SHIFTS.sum()) * positions
    assert found.worst == pytest.approx(missed.sum() / 6)
    np.testing.assert_allclose(found.per_position, [0, 3 / 4, 1 / 2])


@pytest.mark.parametrize("seed", range(4))
def test_a_few_drawn_subsets_and_the_search_find_the_worst(make_model, seed: int) -> None:
    model = make_model(*SHIFTS)
    problem = model.problem(MARGINS, SHIFTED)
    every = leakage(model.params, model.config, problem, KEY)
    some = leakage(model.params, model.config, problem, jax.random.key(seed), n_subsets=2)
    assert some.worst == every.worst
    assert some.worst_position == every.worst_position
    agreed, _ = subset_agreement(model.params, model.config, problem, some.worst_nodes[None])
    assert 1 - agreed[0] == some.worst


def test_the_search_also_starts_from_the_worst_drawn_subset(make_model) -> None:
    """One node does nothing, two make one of two positions wrong, three make both wrong."""
    model = make_model(0.6, 0.6, 0.9, 0.9)
    problem = model.problem([[1, 1, 2]] * 4, SHIFTED)
    of_seeds = {
        float(leakage(model.params, model.config, problem, key, n_subsets=2).worst)
        for key in jax.random.split(KEY, 8)
    }
    assert of_seeds == {0, 1}  # 0 if the drawn ones are harmless, too


@pytest.mark.parametrize("n_subsets", [256, 8])
def test_single_subsets_are_siia_and_nothing_is_worse_than_the_worst(n_subsets: int) -> None:
    model = load_model("3")
    compiled = compile_case("3")
    problem = make_problem(compiled, align(compiled), KEY, n_pairs=300).take(slice(300))
    scores = validate(model.params, model.config, problem)
    singles = jnp.eye(8, dtype=bool)
    agreed, _ = subset_agreement(model.params, model.config, problem, singles)
    np.testing.assert_array_equal(agreed, scores.siia)
    found = leakage(model.params, model.config, problem, KEY, n_subsets=n_subsets)
    assert found.worst >= 1 - min(scores.siia.min(), scores.accuracy)
    assert found.worst >= found.mean >= 0
    assert found.worst_position == found.per_position.max() >= found.worst


@pytest.mark.parametrize("name", ["3", "13"])
def test_compiled_models_do_not_leak(name: str, make_compiled_problem) -> None:
    compiled = compile_case(name)
    problem = make_problem(compiled, align(compiled), KEY, n_pairs=300).take(slice(300))
    problem = make_compiled_problem(compiled, problem)
    found = leakage(compiled.params, compiled.config, problem, KEY)
    assert (found.mean, found.worst, found.worst_position) == (0, 0, 0)


def test_parallel_runs_change_nothing_and_a_second_call_does_not_recompile(
    make_model, run_in_parallel
) -> None:
    model = make_model(*SHIFTS)
    problem = model.problem(MARGINS, SHIFTED)
    once = leakage(model.params, model.config, problem, KEY)
    compiled = leakage._cache_size()  # type: ignore[attr-defined]
    other = model.problem(MARGINS[::-1], SHIFTED)
    again = leakage(model.params, model.config, other, jax.random.key(1))
    assert leakage._cache_size() == compiled  # type: ignore[attr-defined]
    run_in_parallel(leakage, 5)
    parallel = leakage(model.params, model.config, problem, KEY)
    assert once.worst == again.worst == parallel.worst


def test_an_invalid_number(make_model) -> None:
    model = make_model(1.0)
    with pytest.raises(ValueError, match="n_subsets must be at least 1, got 0"):
        leakage(model.params, model.config, model.problem(MARGINS, SHIFTED), KEY, n_subsets=0)
