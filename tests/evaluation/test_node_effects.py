"""Node effects in a model whose effects are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from interpbench_jax.alignment import align
from interpbench_jax.compiler import compile_case
from interpbench_jax.evaluation import node_effects
from interpbench_jax.siit import make_problem


@pytest.mark.parametrize("name", ["3", "13"])
def test_in_the_compiled_model_the_last_node_decides_and_empty_ones_do_nothing(name: str) -> None:
    compiled = compile_case(name)
    problem = make_problem(compiled, align(compiled), jax.random.key(0), n_pairs=500)
    found = node_effects(compiled.params, compiled.config, problem)
    graph = compiled.graph
    last = {"3": "a1.h0", "13": "m0"}[name]
    assert found.accuracy[graph.writer_index(last)] == 1
    aligned = {variable.node for variable in compiled.variables}
    for node in set(graph.writers[1:]) - aligned:
        assert found.accuracy[graph.writer_index(node)] == 0
    if compiled.categorical:
        assert found.kl is not None and found.kl_self is not None
        assert found.kl[graph.writer_index(last)] == pytest.approx(1, abs=1e-5)
        assert found.kl_self[graph.writer_index(last)] == pytest.approx(1, abs=1e-5)
    else:
        assert found.kl is None and found.kl_self is None


def test_pairs_with_equal_targets_do_not_count() -> None:
    compiled = compile_case("13")
    problem = make_problem(compiled, align(compiled), jax.random.key(0), n_pairs=500)
    same = problem._replace(source=problem.base, source_target=problem.base_target)

    def join(first: jnp.ndarray, second: jnp.ndarray, axis: int = 0) -> jnp.ndarray:
        return jnp.concatenate([first, second], axis)

    doubled = problem._replace(
        base=join(problem.base, same.base),
        source=join(problem.source, same.source),
        base_target=join(problem.base_target, same.base_target),
        source_target=join(problem.source_target, same.source_target),
        variable_targets=join(problem.variable_targets, same.variable_targets, 1),
        position_weights=join(problem.position_weights, same.position_weights),
    )
    found = node_effects(compiled.params, compiled.config, doubled)
    expected = node_effects(compiled.params, compiled.config, problem)
    np.testing.assert_allclose(found.accuracy, expected.accuracy, atol=1e-6)
    assert found.kl is not None and expected.kl is not None
    np.testing.assert_allclose(found.kl, expected.kl, atol=1e-5)


def test_divergences_by_hand(make_model) -> None:
    """Logits (margin, shift): (m, 0) on the base, (m, s) with a head patched, (0, 1.5) in full.

    Denominators are unequal, since counted margins are 1 and 4.
    """
    shifts, margins = np.array([2.0, -0.5]), np.array([1.0, 4.0])
    model = make_model(*shifts.tolist())
    problem = model.problem([[1, 1, 4]], [[0, 0, 0]])

    def right(gap: np.ndarray | float) -> np.ndarray:
        """The probability of label 0 by how far its logit is above that of label 1."""
        return 1 / (1 + np.exp(-np.asarray(gap)))

    def from_target(gap: np.ndarray | float) -> np.ndarray:
        return np.log(right(margins)) - np.log(right(gap))

    def from_clean(gap: np.ndarray | float) -> np.ndarray:
        p, q = right(margins), right(gap)
        return p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))

    means = node_effects(model.params, model.config, problem)
    ratios = node_effects(model.params, model.config, problem, reduction="mean_of_ratios")
    for name, rise in (("kl", from_target), ("kl_self", from_clean)):
        full = rise(-shifts.sum())
        for head, shift in enumerate(shifts, 1):
            some = rise(margins - shift)
            found = getattr(means, name)[head]
            np.testing.assert_allclose(found, some.mean() / full.mean(), atol=1e-5)
            found = getattr(ratios, name)[head]
            np.testing.assert_allclose(found, (some / full).mean(), atol=1e-5)
