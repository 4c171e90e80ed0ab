"""Cases with different vocabularies learn the same together as alone."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from interpbench_jax.model.vocabularies import NEVER
from interpbench_jax.siit import (
    init_states,
    members,
    same_shape,
    train_siit,
    train_together,
)
from interpbench_jax.siit import together as module
from interpbench_jax.siit.optimizer import Optimizer
from interpbench_jax.siit.together import common_shape
from interpbench_jax.tasks.task import Behaviour
from tests.siit.test_train import MODEL, QUICK, copy_problem

LARGER = dataclasses.replace(MODEL, d_vocab=5, d_vocab_out=4, init_std=0.4)
# Three tests train groups of three cases by these members, and so share the compiled rounds. The
# first member does not learn.
BRIEF = members(
    dataclasses.replace(QUICK, max_batches=30, round_batches=10, threshold=0.99),
    vary={"learning_rate": (1e-12, 1e-2)},
)
N_ROUNDS = BRIEF[0].config.n_rounds
# Pairs, variables and patched free nodes are drawn equally, so losses can be compared.
POPULATION = members(dataclasses.replace(QUICK, strict_sampling="all"), seeds=(0, 1))


def larger_problem():
    """More tokens, another number of pairs, one more variable and one fewer free node."""
    base, source = jax.random.randint(jax.random.key(5), (2, 80, 3), 0, 4)
    problem = copy_problem(80)._replace(
        base=base, source=source, base_target=base, source_target=source
    )
    return problem._replace(
        variable_targets=jnp.stack([source, base]),
        variable_nodes=jnp.concatenate([problem.variable_nodes, problem.free_nodes[:1]]),
        free_nodes=problem.free_nodes[1:],
    )


def problem_of_zeros():
    """Every answer is 0, which is learned at once."""
    given = copy_problem()
    targets = ("base_target", "source_target", "variable_targets")
    return given._replace(**{name: 0 * getattr(given, name) for name in targets})


@pytest.mark.slow
def test_the_larger_case_learns_the_same_as_alone() -> None:
    """It has the common shape, so even the order of its batches is the same."""
    problems, models = [copy_problem(), larger_problem()], [MODEL, LARGER]
    small, large = train_together(problems, models, POPULATION)
    alone = train_siit(problems[1], LARGER, POPULATION)
    np.testing.assert_allclose(large.history.losses, alone.history.losses, rtol=1e-3)
    np.testing.assert_allclose(large.worst, alone.worst, atol=0.05)
    assert small.scores.iia.shape == (2, 1) and large.scores.iia.shape == (2, 2)
    assert small.scores.siia.shape == (2, 2) and large.scores.siia.shape == (2, 1)
    assert small.params["embed"]["W_E"].shape == (2, 3, 6)
    assert small.params["unembed"]["b_U"].shape == (2, 3)


@pytest.mark.slow
def test_the_smaller_case_reaches_its_threshold() -> None:
    config = dataclasses.replace(QUICK, max_batches=3_000, round_batches=20)
    problems, models = [copy_problem(), larger_problem()], [MODEL, LARGER]
    small, _ = train_together(problems, models, members(config))
    assert small.worst[0] >= config.threshold
    rounds = int(small.rounds[0])
    assert 0 < rounds < config.n_rounds


def test_what_is_finished_leaves_the_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """In one of three cases every answer is 0; the second group has room for the two others."""
    easy = problem_of_zeros()
    problems, models = [copy_problem(), easy, copy_problem()], [MODEL] * 3
    sizes, advance = [], module._advance

    def watched(state, group, *given, **settings):
        sizes.append(len(group))
        return advance(state, group, *given, **settings)

    monkeypatch.setattr(module, "_advance", watched)
    told: list[tuple[int, int, float]] = []
    shrinking = train_together(
        problems,
        models,
        BRIEF,
        validation=problems,
        on_result=lambda place, found: told.append((len(sizes), place, float(found.worst[1]))),
        until_first=True,
    )
    assert sizes == [3, 2, 2]
    after_first, *after_last = told
    assert after_first[:2] == (1, 1) and [entry[:2] for entry in after_last] == [(3, 0), (3, 2)]
    assert [shrinking[place].worst[1] for _, place, _ in told] == [worst for *_, worst in told]
    monkeypatch.setattr(module, "_group", lambda state, config: np.arange(3))
    whole = train_together(problems, models, BRIEF, validation=problems, until_first=True)
    assert sizes[3:] == [3, 3, 3]
    for one, other in zip(shrinking, whole, strict=True):
        np.testing.assert_allclose(one.history.losses, other.history.losses, rtol=1e-3, atol=1e-4)
        np.testing.assert_array_equal(one.rounds, other.rounds)
        np.testing.assert_allclose(one.worst, other.worst, atol=0.02)


def test_a_case_ends_with_its_first_member() -> None:
    """In the first case every answer is 0; only its second member learns fast enough."""
    problems, models = [problem_of_zeros(), copy_problem(), copy_problem()], [MODEL] * 3
    first, second, _ = train_together(
        problems, models, BRIEF, validation=problems, until_first=True
    )
    assert first.worst[0] < 0.99 <= first.worst[1]
    assert first.rounds[0] == first.rounds[1] < N_ROUNDS
    np.testing.assert_array_equal(second.rounds, [N_ROUNDS] * 2)


def test_a_case_that_misses_the_threshold_on_other_pairs_goes_on() -> None:
    """In the first case every answer is 0, but not in the pairs that a round leaves out."""
    easy = problem_of_zeros()
    unfair = easy._replace(base_target=easy.base_target.at[8:].set(1))
    problems, judged = [easy, easy, copy_problem()], [unfair, easy, copy_problem()]
    first, second, _ = train_together(
        problems, [MODEL] * 3, BRIEF, validation=judged, until_first=True
    )
    assert first.rounds[1] == N_ROUNDS and first.worst[1] < 0.99
    assert second.rounds[1] < N_ROUNDS and second.worst[1] >= 0.99


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
def test_padding_is_not_trained(optimizer: Optimizer) -> None:
    """Its weights never change."""
    config = dataclasses.replace(POPULATION[0].config, optimizer=optimizer)
    population = members(config, seeds=(0, 1))
    stacked = module._stacked([copy_problem(), larger_problem()])
    common = common_shape([MODEL, LARGER])
    fresh = module._pad_state(init_states(population, copy_problem(), MODEL), common, (2, 2, 0))
    first = jax.tree.map(lambda leaf: leaf[:1], stacked)
    state = jax.tree.map(lambda leaf: leaf[None], fresh)
    after = module._advance(
        state, np.arange(1), first, first, model=common, settings=config, mesh=None
    )
    unembed = after.params["unembed"]
    assert (unembed["b_U"][..., 3:] == NEVER).all()
    assert (unembed["W_U"][..., 3:] == 0).all()
    assert (after.params["embed"]["W_E"][:, :, 3:] == 0).all()
    moved = after.params["embed"]["W_E"][0, :, :3] != fresh.params["embed"]["W_E"][:, :3]
    assert moved.any()


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="may differ in vocabularies only"):
        common_shape([MODEL, dataclasses.replace(MODEL, d_mlp=9)])


def test_models_with_other_padding_tokens_are_not_trained_together() -> None:
    padded = [dataclasses.replace(MODEL, pad=pad) for pad in (None, 0, 1, 1)]
    larger = dataclasses.replace(padded[2], d_vocab=MODEL.d_vocab + 1)
    assert same_shape([*padded, larger], [True] * 5) == [[0], [1], [2, 3, 4]]
    assert common_shape([padded[2], larger]) == dataclasses.replace(larger, init_std=1.0)


def test_inputs_of_other_widths_are_not_trained_together() -> None:
    wide = copy_problem()
    narrow = wide._replace(base=wide.base[:, :2])
    with pytest.raises(ValueError, match="must have equally many positions, got 2 and 3"):
        train_together([wide, narrow], [MODEL] * 2, POPULATION)


def test_tasks_with_and_without_other_targets_of_behaviour_train_together() -> None:
    plain = copy_problem()
    other = plain._replace(behaviour=Behaviour(plain.base_target, 2 * plain.position_weights))
    assert module._stacked([plain, plain]).behaviour is None
    stacked = module._stacked([plain, other]).behaviour
    assert stacked is not None
    np.testing.assert_array_equal(stacked.target[0], stacked.target[1])
    np.testing.assert_array_equal(2 * stacked.position_weights[0], stacked.position_weights[1])


def test_labels_and_values_are_not_trained_together() -> None:
    """A case with one possible output has labels, although it has one logit like a regression."""
    one_output = dataclasses.replace(MODEL, d_vocab_out=1)
    assert same_shape([MODEL, one_output, one_output], [True, True, False]) == [[0, 1], [2]]
    labels, values = copy_problem(), copy_problem()
    values = values._replace(
        base_target=values.base_target.astype(float),
        variable_targets=values.variable_targets.astype(float),
    )
    with pytest.raises(ValueError, match="all have labels or all have values"):
        train_together([labels, values], [MODEL, one_output], POPULATION)
