"""Which round is the best, and members that reach the threshold on some pairs only.

States are made by hand: the only weight is the number of the round, and it decides the score.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

from interpbench_jax.siit import SiitConfig
from interpbench_jax.siit import train as loop
from interpbench_jax.siit.mesh import DATA
from interpbench_jax.siit.state import History, Rates, TrainState, plateau
from interpbench_jax.siit.train import TrainResult, confirm
from interpbench_jax.siit.validation import Scores

STATIC = SiitConfig(max_batches=4, round_batches=1)


def scores(accuracy: Array) -> Scores:
    nothing = jnp.zeros((*accuracy.shape, 0))
    return Scores(accuracy, nothing, nothing, nothing)


def state_of(n_members: int, **known: Any) -> TrainState:
    """A state before the first round, except for what is given."""
    shape = (n_members,)
    zeros = jnp.zeros(shape)
    unseen = jnp.full((n_members, STATIC.n_rounds), jnp.nan)
    state = TrainState(
        params={"round": zeros},
        optimizer_state=(),
        plateau_state=jax.tree.map(
            lambda x: jnp.broadcast_to(x, (n_members, *jnp.shape(x))), plateau(STATIC).init({})
        ),
        key=jnp.stack([jax.random.key(0)] * n_members),
        rates=Rates(jnp.ones((n_members, 3)), zeros, zeros, jnp.full(shape, 0.99)),
        round=jnp.zeros(shape, int),
        done=jnp.zeros(shape, bool),
        diverged=jnp.zeros(shape, bool),
        best_params={"round": zeros},
        best_score=jnp.full(shape, -1.0),
        history=History(jnp.tile(unseen[..., None], 3), scores(unseen)),
    )
    return state._replace(**known)


def confirmed(until_first: bool, *on_all_pairs: float) -> TrainState:
    """The first two of three members reach the threshold on some pairs; then come all pairs."""
    reached = jnp.array([True, True, False])
    state = state_of(3, done=reached, best_score=jnp.array([1.0, 0.995, 0.5]))
    found = jnp.array(on_all_pairs)
    result = TrainResult(
        state.params, scores(found), found, found, state.history, state.round, state.diverged
    )
    return confirm(state, reached, result, until_first=until_first)


def test_a_member_that_misses_the_threshold_on_all_pairs_goes_on_from_that_score() -> None:
    """Otherwise no later round could be better than its 0.995 on some pairs."""
    state = confirmed(False, 0.992, 0.9, 0.4)
    assert state.done.tolist() == [True, False, False]
    np.testing.assert_allclose(state.best_score, [1, 0.9, 0.5])


@pytest.mark.parametrize(("first", "ended"), [(0.992, True), (0.98, False)])
def test_one_confirmed_member_ends_the_run_if_the_first_does(first: float, ended: bool) -> None:
    assert confirmed(True, first, 0.9, 0.995).done.tolist() == [ended] * 3


@pytest.mark.parametrize(
    ("by_round", "best"),
    [
        ([0.5, 0.7, 0.7, 0.6], 3),
        ([0.5, 0.5, 0.5, 0.5], 4),
        ([0.7, 0.5, 0.6, 0.6], 1),
        ([0.5, 0.6, 0.995, 0.999], 3),  # ends there
        ([0.5, 0.9, float("nan"), 0.99], 2),  # diverges
    ],
)
def test_of_equally_good_rounds_the_last_is_kept(
    by_round: list[float], best: int, monkeypatch: pytest.MonkeyPatch, no_shape_checks: None
) -> None:
    def take(params, state, key, rate):
        return {"round": params["round"] + 1}, state, jnp.zeros(3)

    def score(params, *_, **__):
        found = jnp.array(by_round)[params["round"].astype(int) - 1]
        return scores(found), jnp.isfinite(found)

    monkeypatch.setattr(loop, "_node_step", lambda *_: take)
    monkeypatch.setattr(loop, "scores_and_finiteness", score)
    unused: Any = None
    state = loop.advance_members(
        state_of(1), unused, unused, until=jnp.array(4), model=unused, settings=STATIC, mesh=None
    )
    assert state.best_params["round"].tolist() == [best]
    np.testing.assert_allclose(state.best_score, [by_round[best - 1]])


def test_replicas_whose_rounding_differs_end_together(
    monkeypatch: pytest.MonkeyPatch, no_shape_checks: None
) -> None:
    """One is above the threshold of 0.99 and one below; if only one ended, the other would wait."""

    def score(params, *_, **__):
        found = jnp.where(jax.lax.axis_index(DATA) == 0, 0.995, 0.98)
        return scores(found), jnp.array(True)

    monkeypatch.setattr(loop, "_node_step", lambda *_: lambda *state: (*state[:2], jnp.zeros(3)))
    monkeypatch.setattr(loop, "scores_and_finiteness", score)
    unused: Any = None
    replicas = jax.tree.map(lambda leaf: jnp.concatenate([leaf, leaf]), state_of(1))

    def take_round(state: TrainState) -> TrainState:
        return loop._round(state, unused, unused, unused, STATIC, True, 1)

    after = jax.vmap(take_round, axis_name=DATA)(replicas)
    assert after.done.tolist() == [False, False]
    np.testing.assert_allclose(after.best_score, [0.98, 0.98])
