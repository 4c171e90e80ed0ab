"""The training loop, on a problem small enough to train in a second."""

import dataclasses
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from interpbench_jax.model import Graph, NodePatch, TransformerConfig, forward, init_params
from interpbench_jax.siit import (
    SiitConfig,
    SiitProblem,
    draw_batch,
    init_states,
    interchange_losses,
    members,
    task_loss,
    train_siit,
    update,
    validate,
)
from interpbench_jax.siit import train as loop
from interpbench_jax.siit.config import StrictSampling
from interpbench_jax.siit.optimizer import make_optimizer
from interpbench_jax.siit.train import worst_that_counts
from interpbench_jax.siit.validation import scores_and_finiteness

# Files that train the same model share its compiled rounds.
pytestmark = pytest.mark.xdist_group("training")

MODEL = TransformerConfig(
    n_layers=1,
    n_heads=2,
    d_model=6,
    d_head=3,
    d_mlp=8,
    n_ctx=3,
    d_vocab=3,
    d_vocab_out=3,
    init_std=0.5,
)
QUICK = SiitConfig(
    max_batches=30, round_batches=10, batch_size=16, validation_pairs=8, held_out=0.25
)


def copy_problem(n_pairs: int = 64) -> SiitProblem:
    """The output is the token; the MLP holds it, the heads are free."""
    graph = Graph.of(MODEL)
    base, source = jax.random.randint(jax.random.key(0), (2, n_pairs, 3), 0, 3)
    one_hot = jnp.eye(graph.n_writers)
    return SiitProblem(
        base=base,
        source=source,
        base_target=base,
        source_target=source,
        variable_targets=source[None],
        variable_nodes=one_hot[graph.writer_index("m0")][None],
        free_nodes=one_hot[jnp.array([1, 2])],
        position_weights=jnp.tile(jnp.array([0.0, 1.0, 1.0]), (n_pairs, 1)),
    )


def test_reaches_the_threshold_and_stops_early() -> None:
    config = dataclasses.replace(QUICK, max_batches=3_000, round_batches=20, validation_pairs=64)
    result = train_siit(copy_problem(), MODEL, config)
    rounds = int(result.rounds[0])
    assert 0 < rounds < config.n_rounds
    assert result.scores.accuracy[0] >= config.threshold
    assert result.scores.iia.min() >= config.threshold
    assert result.scores.siia.min() >= config.threshold
    losses = result.history.losses[0]
    assert np.isfinite(losses[:rounds]).all() and np.isnan(losses[rounds:]).all()
    assert losses[rounds - 1].sum() < losses[0].sum()


def test_a_run_can_end_with_its_first_member() -> None:
    """The first member never gets there; without `until_first` it uses up its batches."""
    config = dataclasses.replace(QUICK, max_batches=3_000, round_batches=20, validation_pairs=64)
    rates = members(config, vary={"learning_rate": (1e-12, 1e-2)})
    result = train_siit(copy_problem(), MODEL, rates, until_first=True)
    assert result.rounds[0] == result.rounds[1] < config.n_rounds
    assert result.worst[0] < config.threshold <= result.worst[1]


def test_a_run_ends_when_all_validation_pairs_reach_the_threshold() -> None:
    """The first eight can be learned; the others demand that one token becomes another."""
    given = copy_problem(64)
    wrong = given.base_target.at[8:].set((given.base_target[8:] + 1) % 3)
    looked_at, unfair = given.take(slice(8)), given._replace(base_target=wrong)
    config = dataclasses.replace(QUICK, max_batches=600, round_batches=20)
    fair = train_siit(given, MODEL, config, validation=looked_at)
    assert fair.rounds[0] < config.n_rounds
    dones = []
    result = train_siit(
        given,
        MODEL,
        config,
        validation=unfair,
        on_round=lambda state: dones.append(bool(state.done[0])),
    )
    assert result.rounds[0] == config.n_rounds and not any(dones)
    worst_of_some = jnp.fmin(result.history.scores.accuracy, result.history.scores.iia.min(-1))
    assert float(jnp.nanmax(worst_of_some)) >= config.threshold > result.worst[0]


def test_validation_in_blocks_of_pairs_counts_every_pair_once() -> None:
    problem = copy_problem(701)  # two blocks on a CPU, the last one filled up
    weights = jax.random.uniform(jax.random.key(3), problem.position_weights.shape)
    problem = problem._replace(position_weights=weights)
    params = init_params(MODEL, jax.random.key(1))
    _, written = forward(params, MODEL, problem.source)

    def right(node: jax.Array, target: jax.Array) -> float:
        logits, _ = forward(params, MODEL, problem.base, NodePatch(node, written))
        at = np.asarray(logits).argmax(-1) == np.asarray(target)
        return float(np.average(at, weights=np.asarray(weights)))

    scores = validate(params, MODEL, problem)
    base, variable = problem.base_target, problem.variable_nodes[0]
    assert 0 < scores.accuracy < 1
    np.testing.assert_allclose(scores.accuracy, right(jnp.zeros_like(variable), base), rtol=1e-5)
    np.testing.assert_allclose(
        scores.iia, [right(variable, problem.variable_targets[0])], rtol=1e-5
    )
    np.testing.assert_allclose(
        scores.siia, [right(node, base) for node in problem.free_nodes], rtol=1e-5
    )


def test_seeds_trained_together_equal_seeds_trained_alone() -> None:
    together = train_siit(copy_problem(), MODEL, members(QUICK, seeds=(3, 4)))
    losses = together.history.losses
    for place, seed in enumerate((3, 4)):
        alone = train_siit(copy_problem(), MODEL, members(QUICK, seeds=(seed,)))
        np.testing.assert_allclose(losses[place], alone.history.losses[0], rtol=1e-3)
    assert not np.allclose(losses[0], losses[1], rtol=1e-2)


@pytest.mark.slow
def test_accelerators_train_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """They train members in parallel, and a finished member waits for the others."""
    config = dataclasses.replace(QUICK, max_batches=200, round_batches=20)
    found = []
    for backend in ("cpu", "gpu"):
        monkeypatch.setattr(jax, "default_backend", lambda backend=backend: backend)
        loop._advance.clear_cache()  # type: ignore[attr-defined]
        found.append(train_siit(copy_problem(), MODEL, members(config, seeds=(0, 1, 2))))
    loop._advance.clear_cache()  # type: ignore[attr-defined]
    in_turn, together = found
    np.testing.assert_array_equal(together.rounds, in_turn.rounds)
    np.testing.assert_allclose(together.history.losses, in_turn.history.losses, rtol=1e-3)


def test_leaving_the_loop_after_each_round_changes_nothing() -> None:
    problem = copy_problem()
    training, held_out = problem.split(QUICK.held_out)
    stepwise = at_once = init_states(members(QUICK), problem, MODEL)
    for _ in range(3):
        stepwise = loop.advance(stepwise, training, held_out, model=MODEL, config=QUICK)
    at_once = loop.advance(at_once, training, held_out, model=MODEL, config=QUICK, rounds=3)
    assert int(at_once.round[0]) == 3
    for ours, expected in zip(
        jax.tree.leaves(stepwise.params), jax.tree.leaves(at_once.params), strict=True
    ):
        np.testing.assert_array_equal(ours, expected)


def cache_size() -> int:
    return loop._advance._cache_size()  # type: ignore[attr-defined]


def test_a_second_round_and_other_rates_do_not_recompile() -> None:
    train_siit(copy_problem(), MODEL, QUICK)
    compiled = cache_size()
    train_siit(
        copy_problem(), MODEL, dataclasses.replace(QUICK, learning_rate=1e-3, iit_weight=2.0)
    )
    assert cache_size() == compiled


def test_a_member_whose_loss_is_not_finite_stops() -> None:
    config = dataclasses.replace(QUICK, learning_rate=1e30, final_learning_rate=1e30)
    result = train_siit(copy_problem(), MODEL, config)
    assert int(result.rounds[0]) == 1
    assert result.diverged[0]


def test_a_member_whose_patched_runs_overflow_stops() -> None:
    """Token 2 overflows; it occurs only in the sources of the second validation problem."""
    problem = copy_problem()
    usual = problem._replace(
        base=problem.base % 2,
        source=problem.source % 2,
        base_target=problem.base % 2,
        variable_targets=problem.source[None] % 2,
    )
    training, validation = usual.split(QUICK.held_out)
    state = init_states(members(QUICK), problem, MODEL)
    embedding = state.params["embed"]["W_E"].at[:, 2].set(1e30)
    params = {**state.params, "embed": {"W_E": embedding}}
    state = state._replace(params=params, best_params=params)

    def after_a_round(validation: SiitProblem) -> tuple[bool, bool]:
        found = loop.advance(state, training, validation, model=MODEL, config=QUICK)
        return bool(found.diverged[0]), bool(jnp.isfinite(found.history.losses[0, 0]).all())

    assert after_a_round(validation) == (False, True)
    overflowing = validation._replace(source=jnp.full_like(validation.source, 2))
    assert after_a_round(overflowing) == (True, True)


def test_the_best_weights_are_returned() -> None:
    config = dataclasses.replace(QUICK, max_batches=400, round_batches=20, threshold=0.9999)
    result = train_siit(copy_problem(), MODEL, members(config, seeds=(0, 1)))
    held_out = copy_problem().split(config.held_out)[1].take(slice(config.validation_pairs))
    history = result.history.scores
    worst = np.fmin(
        np.asarray(history.accuracy),
        np.fmin(history.iia.min(-1), history.siia.min(-1)),
    )
    for place in range(2):
        params = jax.tree.map(lambda x, place=place: x[place], result.params)
        best = worst_that_counts(validate(params, MODEL, held_out), jnp.ones(3))
        np.testing.assert_allclose(best, np.nanmax(worst[place]), atol=1e-6)


def test_one_run_of_three_interventions_equals_three_runs() -> None:
    problem = copy_problem()
    params = init_params(MODEL, jax.random.key(1))
    batch = draw_batch(
        problem,
        jax.random.key(2),
        batch_size=8,
        strict_sampling="sample_all",
        variable_sampling="per_batch",
    )
    rest = (batch.base, batch.source)
    losses = jax.jit(interchange_losses, static_argnums=1)
    together = losses(params, MODEL, *rest, batch.masks, batch.targets, batch.position_weights)
    for i in range(3):
        one = slice(i, i + 1)
        alone = losses(
            params, MODEL, *rest, batch.masks[one], batch.targets[one], batch.position_weights
        )
        np.testing.assert_allclose(together[i], alone[0], rtol=1e-5)


def test_one_joint_step_on_one_loss_equals_the_separate_step_on_it() -> None:
    """Separate steps on losses of weight 0 have no gradient, so they change nothing."""
    problem = copy_problem()
    params = init_params(MODEL, jax.random.key(1))
    batch = draw_batch(
        problem,
        jax.random.key(2),
        batch_size=8,
        strict_sampling="all",
        variable_sampling="per_batch",
    )
    optimizer = make_optimizer(clip_norm=1.0, beta1=0.9, beta2=0.9)
    static = ("model", "optimizer", "steps", "outside", "source_gradient")
    step = jax.jit(update, static_argnames=static)
    rates = (jnp.array([0.0, 1.0, 0.0]), jnp.array(1e-3))  # only IIT, the first separate step
    (joint, _, losses), (separate, _, later) = (
        step(
            params,
            optimizer.init(params),
            batch,
            jnp.zeros(Graph.of(MODEL).n_writers),
            *rates,
            model=MODEL,
            optimizer=optimizer,
            steps=steps,
            outside="train",
            source_gradient=True,
        )
        for steps in ("joint", "separate")
    )
    np.testing.assert_allclose(losses[1], later[1], rtol=1e-5)
    assert losses[0] != later[0]  # the behaviour loss is computed after that step
    chex.assert_trees_all_close(separate, joint, atol=1e-6)
    moved = jax.tree.map(lambda new, old: np.abs(new - old).max(), joint, params)
    assert max(jax.tree.leaves(moved)) > 5e-4


@pytest.mark.parametrize(
    ("sampling", "sizes"), [("individual", {1}), ("all", {2}), ("sample_all", {0, 1, 2})]
)
def test_strict_sampling(sampling: StrictSampling, sizes: set[int]) -> None:
    problem = copy_problem()
    seen = set()
    for seed in range(30):
        batch = draw_batch(
            problem,
            jax.random.key(seed),
            batch_size=2,
            strict_sampling=sampling,
            variable_sampling="per_batch",
        )
        assert not batch.masks[0].any()
        np.testing.assert_array_equal(batch.masks[1], problem.variable_nodes[:1])
        outside = np.asarray(batch.masks[2])[..., np.asarray(problem.free_nodes).sum(0) == 0]
        assert not outside.any()
        seen.add(int(batch.masks[2].sum()))
    assert seen == sizes


def test_task_loss_by_hand() -> None:
    logits = jnp.log(jnp.array([[[0.5, 0.5], [0.25, 0.75]]]))
    target = jnp.array([[0, 1]])
    found = task_loss(logits, target, jnp.array([[0.0, 1.0]]))
    np.testing.assert_allclose(found, -np.log(0.75), rtol=1e-6)
    values = jnp.array([[[1.0], [3.0]]])
    found = task_loss(values, jnp.array([[0.0, 1.0]]), jnp.array([[1.0, 1.0]]))
    np.testing.assert_allclose(found, (1 + 4) / 2)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("strict_weight", -1.0),
        ("learning_rate", 0.0),
        ("batch_size", 0),
        ("held_out", 1.0),
        ("learning_rate", float("inf")),
        ("learning_rate", True),
        ("min_length", "2"),
        ("min_length", 0),
        ("beta1", 1.0),
        ("threshold", 0.0),
        ("threshold", 1.01),
        ("strict_sampling", "some"),
        ("steps", "twice"),
    ],
)
def test_bad_settings_are_named(field: str, value: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=field):
        SiitConfig(**{field: value})


def test_training_and_validation_share_no_sequence() -> None:
    """A random third of 2,187 sequences; the others are trained on."""
    tokens = jax.random.randint(jax.random.key(0), (2, 4_000, 7), 0, 3)
    problem = copy_problem(4_000)._replace(base=tokens[0], source=tokens[1])
    training, validation = problem.split(1 / 3)
    seen = [
        {row.tobytes() for row in np.concatenate([side.base, side.source])}
        for side in (training, validation)
    ]
    assert not seen[0] & seen[1]
    assert len(seen[1]) / (len(seen[0]) + len(seen[1])) == pytest.approx(1 / 3, abs=0.05)
    assert training.n_pairs / 4_000 == pytest.approx(4 / 9, abs=0.05)
    assert validation.n_pairs / 4_000 == pytest.approx(1 / 9, abs=0.05)


def test_too_few_sequences_are_not_divided() -> None:
    """There are 27 sequences."""
    problem = copy_problem(2_000)
    for side in problem.split(0.25):
        assert side is problem


def test_pairs_that_fill_a_block_of_validation_are_no_divergence() -> None:
    """More pairs than fit into a block; in a row of padding every key would be masked."""
    model = dataclasses.replace(MODEL, causal=True, d_vocab=4, pad=0)
    problem = copy_problem(701)
    problem = problem._replace(base=problem.base + 1, source=problem.source + 1)
    params = init_params(model, jax.random.key(0))
    scores, finite = scores_and_finiteness(params, model, problem)
    assert finite and np.isfinite(scores.accuracy)
