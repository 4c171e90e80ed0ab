"""Patches at single positions, compared with a loop over runs of a slow reference in NumPy."""

import jax
import numpy as np
import pytest

from interpbench_jax.alignment.alignment import group_masks
from interpbench_jax.alignment.edge_levels import draw_positions, qkv_level
from interpbench_jax.benchmark.evaluate import certify_model
from interpbench_jax.compiler import compile_case
from interpbench_jax.evaluation.edge_judge import Blocks, EdgeJudge
from interpbench_jax.evaluation.position_certificate import certify_at_positions
from interpbench_jax.siit import TOLERANCE
from interpbench_jax.tasks import Pairs
from interpbench_jax.tasks.task import AnswersAtPositions
from interpbench_jax.zoo import load_model
from tests.model import numpy_reference

N_PAIRS = 30


@pytest.fixture(scope="module")
def model():
    """Trained by nodes, so that some of its edges do not agree."""
    return load_model("siit/3")


@pytest.fixture(scope="module")
def pairs(model):
    drawn = model.task.pairs(model.task.split(0.2), "test", N_PAIRS, jax.random.key(0))
    assert len(drawn.base) == N_PAIRS
    return drawn


@jax.jit
def answer(algorithm, base, source, masks, at):
    return algorithm.at_positions(base, source, masks, at)


def by_loop(model, pairs: Pairs, units: np.ndarray, positions: np.ndarray) -> float:
    """Agreement under one patch: the model runs in NumPy, and the compiled model gives answers."""
    level, graph = qkv_level(model.alignment), model.graph
    at = np.broadcast_to(positions, pairs.base.shape).astype(np.float32)
    _, written = numpy_reference.forward(model.params, model.config, pairs.source)
    patched = level.edges[units].any(0)
    edges = {(graph.writers[w], graph.readers[r]): at for w, r in np.argwhere(patched)}
    logits, _ = numpy_reference.forward(
        model.params, model.config, pairs.base, edges=edges, source=written
    )
    own = group_masks(model.alignment)[0][level.groups_of(units[None])[0]].any(0)
    algorithm = compile_case("3").answers_by(tabulated=False)
    answers = answer(algorithm, pairs.base, pairs.source, own[None].astype(np.float32), at)
    right = np.abs(logits[..., 0] - np.asarray(answers)[0]) < TOLERANCE
    return float((right * pairs.position_weights).sum() / pairs.position_weights.sum())


def test_agreement_at_positions_equals_a_loop_over_runs(model, pairs) -> None:
    level, task = qkv_level(model.alignment), model.task
    groups = group_masks(model.alignment)[0]
    judge = EdgeJudge(model.params, model.config, task.defined_answers, groups)
    rng = np.random.default_rng(0)
    found = certify_at_positions(judge, level, Blocks.of(pairs), N_PAIRS, rng, 20, 10**6)
    n_positions = pairs.base.shape[1]
    one = np.eye(n_positions, dtype=bool)[1:]
    assert found.inert.shape == (n_positions - 1,)
    assert found.inside.shape == (level.inside.sum(), n_positions - 1)
    assert found.inert.min() < 0.95  # otherwise the comparison shows little
    for place, position in enumerate(one):
        assert found.inert[place] == pytest.approx(by_loop(model, pairs, ~level.inside, position))
        for unit in range(level.inside.sum()):
            units = np.arange(len(level.names)) == unit
            share = by_loop(model, pairs, units, position)
            assert found.inside[unit, place] == pytest.approx(share)
    worst = by_loop(model, pairs, found.worst_set, found.worst_positions)
    assert found.worst == pytest.approx(worst) and worst < found.random_mean < 1
    assert found.random_pairs == N_PAIRS


def test_a_certificate_has_positions_if_the_algorithm_says_where_its_values_are() -> None:
    whole = certify_model(load_model("3"), n_pairs=100, n_random=20)
    described = whole.describe()["positions"]
    assert min(described["inert"]) == described["worst"] == described["random_mean"] == 1
    assert list(described["inside"]) == list(whole.qkv.names[: whole.qkv.n_inside])
    assert not isinstance(load_model("ioi").task.defined_answers, AnswersAtPositions)


def test_half_of_the_draws_are_single_positions_and_none_is_bos() -> None:
    drawn = draw_positions(np.random.default_rng(0), 4_000, 9)
    assert not drawn[:, 0].any()
    np.testing.assert_allclose(drawn[:, 1:].mean(0), 0.5 * (1 / 8 + 0.5), atol=0.03)
    assert (drawn.sum(1) == 1).mean() == pytest.approx(0.5 + 0.5 / 9, abs=0.03)
