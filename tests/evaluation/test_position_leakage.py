"""Patches at single positions, in models whose results can be computed by hand."""

import numpy as np
import pytest

from interpbench_jax.evaluation import position_leakage

SHIFTED = np.zeros((4, 3), int)


def test_only_patched_positions_change(make_model) -> None:
    """The first head alone changes the output if the margin is below 1.5; both heads cancel."""
    model = make_model(1.5, -1.5)
    margins = [[1, 1, 5], [1, 1, 1], [1, 2, 1], [1, 1, 5]]
    found = position_leakage(model.params, model.config, model.problem(margins, SHIFTED))
    np.testing.assert_allclose(found, [0, 3 / 8, 2 / 8])


def test_nodes_that_harm_only_together_are_detected(make_model) -> None:
    model = make_model(0.6, 0.7, 0.0)
    problem = model.problem([[1, 1, 5]] * 4, SHIFTED)
    assert position_leakage(model.params, model.config, problem).tolist() == [0, 0.5, 0]
    nothing = problem._replace(source=problem.base)
    assert (position_leakage(model.params, model.config, nothing) == 0).all()


@pytest.mark.parametrize("at_once", [1, 3])
def test_without_free_nodes_nothing_leaks(make_model, run_in_parallel, at_once: int) -> None:
    run_in_parallel(position_leakage, at_once)
    model = make_model(1.5)
    problem = model.problem([[1, 1, 5]] * 4, SHIFTED)
    bare = problem._replace(free_nodes=problem.free_nodes[:0])
    assert (position_leakage(model.params, model.config, bare) == 0).all()
