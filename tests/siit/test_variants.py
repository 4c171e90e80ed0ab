"""Presets, members of a population, and treatments of nodes outside the circuit."""

import dataclasses
import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from interpbench_jax.model import init_params
from interpbench_jax.siit import (
    PRESETS,
    Member,
    SiitConfig,
    TrainState,
    draw_batch,
    init_states,
    interchange_losses,
    members,
    preset,
    train_siit,
    update,
)
from interpbench_jax.siit import train as loop
from interpbench_jax.siit.config import Schedule
from interpbench_jax.siit.optimizer import make_optimizer
from interpbench_jax.zoo.progress import progress_of
from tests.siit.test_train import MODEL, QUICK, copy_problem

pytestmark = pytest.mark.xdist_group("training")  # as `test_train`
FREE = copy_problem().free_nodes.sum(0)
TRAIN_STEP = jax.jit(
    update, static_argnames=("model", "optimizer", "steps", "outside", "source_gradient")
)


def one_step(**variant):
    """Weights before and after a step on all three losses."""
    params = init_params(MODEL, jax.random.key(1))
    batch = draw_batch(
        copy_problem(),
        jax.random.key(2),
        batch_size=8,
        strict_sampling="all",
        variable_sampling="per_batch",
    )
    optimizer = make_optimizer(clip_norm=1.0, beta1=0.9, beta2=0.9)
    after, _, losses = TRAIN_STEP(
        params,
        optimizer.init(params),
        batch,
        FREE,
        jnp.ones(3),
        jnp.array(1e-2),
        model=MODEL,
        optimizer=optimizer,
        steps="joint",
        **{"outside": "train", "source_gradient": True} | variant,
    )
    return params, after, losses


def moved(before, after) -> dict[str, bool]:
    """Whether any entry of each weight has changed."""
    flat, _ = jax.tree_util.tree_flatten_with_path(before)
    return {
        jax.tree_util.keystr(path): bool((old != new).any())
        for (path, old), new in zip(flat, jax.tree.leaves(after), strict=True)
    }


def test_frozen_nodes_keep_their_weights() -> None:
    """The heads are free; the MLP holds the variable."""
    free_to_move = moved(*one_step()[:2])
    frozen = moved(*one_step(outside="freeze")[:2])
    assert free_to_move["['blocks_0']['attn']['W_V']"]
    for name, changed in frozen.items():
        if "attn" in name and "b_O" not in name:
            assert not changed, name
        elif free_to_move[name]:
            assert changed, name


@pytest.mark.slow
def test_no_gradient_passes_through_detached_nodes() -> None:
    problem, params = copy_problem(), init_params(MODEL, jax.random.key(1))
    batch = draw_batch(
        problem,
        jax.random.key(2),
        batch_size=8,
        strict_sampling="all",
        variable_sampling="per_batch",
    )

    arrays = (batch.base, batch.source, batch.masks, batch.targets, batch.position_weights)

    @functools.partial(jax.jit, static_argnames=("which", "source_gradient"))
    def value_and_gradient(params, detached, which, source_gradient):
        def loss(params):
            given = {"detached": detached, "source_gradient": source_gradient}
            return interchange_losses(params, MODEL, *arrays, **given)[which]

        return jax.value_and_grad(loss)(params)

    # The IIT loss does not read the free heads of the run on the base; in all other losses their
    # gradients pass only through themselves.
    for which, source_gradient in itertools.product(range(3), (False, True)):
        plain, through = value_and_gradient(params, None, which, source_gradient)
        value, closed = value_and_gradient(params, FREE, which, source_gradient)
        np.testing.assert_allclose(value, plain, rtol=1e-6)
        assert jnp.abs(closed["blocks_0"]["attn"]["W_O"]).max() == 0
        assert jnp.abs(closed["blocks_0"]["mlp"]["W_out"]).max() > 0
        if which == 0:
            assert jnp.abs(through["blocks_0"]["attn"]["W_O"]).max() > 0


def test_stop_grad_trains_no_free_node() -> None:
    config = dataclasses.replace(QUICK, **PRESETS["stop-grad"])
    before = init_states(members(config), copy_problem(), MODEL).params
    states: list[TrainState] = []
    train_siit(copy_problem(), MODEL, config, on_round=states.append)
    for name, changed in moved(before, states[-1].params).items():
        in_heads = "attn" in name and "b_O" not in name
        assert changed != in_heads, name


def test_gradients_flow_into_the_source_run_unless_it_is_fixed() -> None:
    """If the MLP is interchanged, its hidden weights matter only on the source."""
    problem, params = copy_problem(), init_params(MODEL, jax.random.key(1))
    batch = draw_batch(
        problem,
        jax.random.key(2),
        batch_size=8,
        strict_sampling="all",
        variable_sampling="per_batch",
    )

    def loss(params, source_gradient):
        arrays = (batch.base, batch.source, batch.masks, batch.targets, batch.position_weights)
        return interchange_losses(params, MODEL, *arrays, source_gradient=source_gradient)[1]

    gradient_of = jax.jit(jax.grad(loss), static_argnums=1)
    for source_gradient in (False, True):
        gradient = gradient_of(params, source_gradient)["blocks_0"]["mlp"]
        assert bool(jnp.abs(gradient["W_in"]).max() > 0) == source_gradient
        assert jnp.abs(gradient["W_out"]).max() > 0


def test_one_variable_for_each_pair() -> None:
    problem = copy_problem()
    two = problem._replace(
        variable_nodes=jnp.concatenate([problem.variable_nodes, problem.free_nodes[:1]]),
        variable_targets=jnp.stack([problem.source_target, problem.base_target]),
    )
    batch = draw_batch(
        two,
        jax.random.key(0),
        batch_size=64,
        strict_sampling="all",
        variable_sampling="per_pair",
    )
    second = batch.masks[1] @ two.variable_nodes[1] > 0
    assert 16 < int(second.sum()) < 48
    rows = jnp.where(second[:, None], batch.base, batch.source)  # the targets are the tokens
    np.testing.assert_array_equal(batch.targets[1], rows)


def test_presets_change_their_settings() -> None:
    assert preset("siit", "3") == SiitConfig()
    assert preset("iit", "3").strict_weight == 0
    assert preset("siit-2024", "3").strict_weight == 10
    assert preset("siit-2024", "21").learning_rate == 5e-4
    assert preset("siit-2024", "8").strict_weight == 0.4
    kept = preset("natural", "3", SiitConfig(batch_size=7))
    assert (kept.batch_size, kept.iit_weight, kept.strict_weight) == (7, 0, 0)
    with pytest.raises(ValueError, match="unknown preset 'best'; known: edge-siit, siit, "):
        preset("best", "3")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name == "siit-published" else ())
        for name in PRESETS
        if name != "edge-siit"
    ],
)
def test_every_preset_by_nodes_trains(name: str) -> None:
    config = preset(name, "3")
    short = dataclasses.replace(
        config, max_batches=30, round_batches=10, batch_size=16, validation_pairs=8, held_out=0.25
    )
    start = init_states(members(short), copy_problem(), MODEL)
    first = np.array(start.params["unembed"]["W_U"])
    result = train_siit(copy_problem(), MODEL, short, state=start)
    losses = result.history.losses[0]
    assert np.isfinite(losses[: int(result.rounds[0])]).all()
    assert np.abs(result.params["unembed"]["W_U"] - first).max() > short.learning_rate


def test_members_are_all_combinations() -> None:
    found = members(QUICK, seeds=(1, 2), vary={"strict_weight": (0.5, 2.0)})
    assert [(m.seed, m.config.strict_weight) for m in found] == [
        *((1, 0.5), (1, 2.0), (2, 0.5), (2, 2.0))
    ]
    assert all(dataclasses.replace(m.config, strict_weight=1.0) == QUICK for m in found)
    with pytest.raises(ValueError, match="batch_size cannot vary within a population"):
        members(QUICK, vary={"batch_size": (1.0, 2.0)})
    with pytest.raises(ValueError, match="no value given for seed"):
        members(QUICK, seeds=())
    other = Member(0, dataclasses.replace(QUICK, batch_size=32))
    with pytest.raises(ValueError, match="members must have the same static settings"):
        init_states([Member(0, QUICK), other], copy_problem(), MODEL)


def test_rates_vary_within_a_population_without_recompiling() -> None:
    population = members(QUICK, vary={"learning_rate": (1e-3, 1e-2), "iit_weight": (0.5, 2.0)})
    together = train_siit(copy_problem(), MODEL, population)
    compiled = loop._advance._cache_size()  # type: ignore[attr-defined]
    rates = {"learning_rate": (1e-4, 2e-2), "iit_weight": (1.0, 3.0)}
    train_siit(copy_problem(), MODEL, members(QUICK, vary=rates))
    assert loop._advance._cache_size() == compiled  # type: ignore[attr-defined]
    for place, member in enumerate(population):
        alone = train_siit(copy_problem(), MODEL, [member])
        np.testing.assert_allclose(
            together.history.losses[place], alone.history.losses[0], rtol=1e-3
        )


def test_one_member_diverges_and_the_other_continues() -> None:
    population = members(QUICK, vary={"learning_rate": (1e30, 1e-2)})
    result = train_siit(copy_problem(), MODEL, population)
    assert result.diverged.tolist() == [True, False]
    assert result.rounds.tolist() == [1, QUICK.n_rounds]
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(result.params))


def test_weights_broken_by_the_last_step_are_not_kept() -> None:
    config = dataclasses.replace(
        QUICK, learning_rate=1e30, final_learning_rate=1e30, round_batches=1, max_batches=1
    )
    result = train_siit(copy_problem(), MODEL, config)
    assert result.diverged.tolist() == [True]
    assert all(np.abs(leaf).max() < 1e3 for leaf in jax.tree.leaves(result.params))


def test_the_plateau_follows_the_worst_score_upwards() -> None:
    config = dataclasses.replace(QUICK, schedule="plateau", threshold=1.0)
    states: list[TrainState] = []
    result = train_siit(copy_problem(), MODEL, config, on_round=states.append)
    scores = result.history.scores
    worst = np.minimum(scores.accuracy, np.minimum(scores.iia.min(-1), scores.siia.min(-1)))[0]
    for n, state in enumerate(states, start=1):
        best = float(state.plateau_state.best_value[0])
        assert best == pytest.approx(1 - worst[:n].max(), abs=1e-3)


def test_scores_without_a_weight_do_not_count() -> None:
    config = dataclasses.replace(
        QUICK,
        max_batches=3_000,
        round_batches=20,
        validation_pairs=64,  # all: too few sequences to divide
        iit_weight=0.0,
        strict_weight=0.0,
    )
    result = train_siit(copy_problem(), MODEL, config)
    assert result.worst[0] == result.scores.accuracy[0] >= config.threshold
    assert min(result.scores.iia.min(), result.scores.siia.min()) < config.threshold


def test_members_of_a_sweep_are_compared_by_all_their_scores() -> None:
    """Plain IIT stops by its own scores; in a sweep with SIIT, its SIIA counts, too."""
    config = dataclasses.replace(
        QUICK, max_batches=3_000, round_batches=20, validation_pairs=64, iit_weight=0.0
    )
    population = members(config, vary={"strict_weight": (0.0, 1.0)})
    states: list[TrainState] = []
    result = train_siit(copy_problem(), MODEL, population, on_round=states.append)
    assert states[-1].done.tolist() == [True, True]
    siia = result.scores.siia.min(-1)
    assert result.scores.accuracy[0] >= config.threshold > siia[0]
    np.testing.assert_array_equal(result.worst, np.minimum(result.scores.accuracy, siia))
    # While both are training, the bar shows the one that would be kept.
    first = progress_of(states[0], "copy", config, None)
    assert first.leading == int(np.argmin([-min(first.accuracy[i], first.siia[i]) for i in (0, 1)]))
    assert first.loss[0] == pytest.approx(first.losses[0][0])
    assert first.loss[1] == pytest.approx(first.losses[1][0] + first.losses[1][2])


@pytest.mark.parametrize(
    ("schedule", "expected"), [("constant", 1.0), ("linear", 0.1), ("plateau", 0.25)]
)
def test_schedules(schedule: Schedule, expected: float) -> None:
    """The learning rate of the last batch; the plateau has lowered it twice."""
    config = dataclasses.replace(
        QUICK, schedule=schedule, learning_rate=1.0, final_learning_rate=0.1, plateau_factor=0.5
    )
    state = init_states(members(config), copy_problem(), MODEL)
    state = jax.tree.map(lambda x: x[0], state)
    state = state._replace(round=jnp.array(config.n_rounds - 1))
    plateau = loop.plateau(config)
    scale = state.plateau_state
    for _ in range(1 + 2 * config.plateau_patience):
        _, scale = plateau.update({}, scale, value=jnp.array(0.5))
    state = state._replace(plateau_state=scale)
    last = jnp.array(config.round_batches - 1)
    rate = loop._learning_rate(state, last, config)
    assert float(rate) == pytest.approx(expected)


def rates(config: SiitConfig) -> np.ndarray:
    """The learning rate of every batch."""
    state = jax.tree.map(lambda x: x[0], init_states(members(config), copy_problem(), MODEL))
    found = []
    for batch in range(config.max_batches):
        at = state._replace(round=jnp.array(batch // config.round_batches))
        index = jnp.array(batch % config.round_batches)
        found.append(float(loop._learning_rate(at, index, config)))
    return np.array(found)


def test_a_run_starts_again_for_refining() -> None:
    """30 batches from 1.0 to 0.1, the last 10 of them from a third to 0.1."""
    config = dataclasses.replace(
        QUICK, refine_batches=10, learning_rate=1.0, final_learning_rate=0.1
    )
    found = rates(config)
    np.testing.assert_allclose(found[[0, 19, 20, 29]], [1.0, 0.1, 1 / 3, 0.1], rtol=1e-6)
    steps = np.diff(found[:20])
    np.testing.assert_allclose(steps, -0.9 / 19, rtol=1e-5)


def test_refining_starts_again_at_every_stage() -> None:
    """30 batches from 1.0 to 0.1, the last 20 of them in two stages from a third to 0.1."""
    config = dataclasses.replace(
        QUICK, refine_batches=20, refine_stages=2, learning_rate=1.0, final_learning_rate=0.1
    )
    found = rates(config)[[0, 9, 10, 19, 20, 29]]
    np.testing.assert_allclose(found, [1.0, 0.1, 1 / 3, 0.1, 1 / 3, 0.1], rtol=1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"refine_batches": 10, "refine_stages": 3}, "multiple of refine_stages=3, got 10"),
        ({"refine_batches": 30}, "below max_batches=30, got 30"),
        ({"refine_batches": -1}, "at least 0"),
        (
            {"refine_batches": 10, "schedule": "constant"},
            "linear schedule, got schedule='constant'",
        ),
        ({"single_focus": 0.5}, "single_focus=0.5 applies while refining"),
        ({"set_focus": 0.5}, "set_focus=0.5 applies while refining"),
        ({"row_focus": 0.5}, "row_focus=0.5 applies while refining"),
    ],
)
def test_refining_that_cannot_be_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(QUICK, **settings)
