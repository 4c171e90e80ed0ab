"""Updates from a batch: which losses take steps, and in what order."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from interpbench_jax.model import init_params
from interpbench_jax.siit import (
    TrainState,
    draw_batch,
    train_siit,
    update,
)
from interpbench_jax.siit.optimizer import make_optimizer
from tests.siit.test_train import MODEL, QUICK, copy_problem

pytestmark = pytest.mark.xdist_group("training")  # as `test_train`
FREE = copy_problem().free_nodes.sum(0)
TRAIN_STEP = jax.jit(
    update, static_argnames=("model", "optimizer", "steps", "outside", "source_gradient")
)


def test_a_loss_without_weight_takes_no_step() -> None:
    """Adam would otherwise continue by its momentum and decay its state."""
    base = dataclasses.replace(QUICK, iit_weight=0.0, strict_weight=0.0)
    joint, separate = (
        train_siit(copy_problem(), MODEL, dataclasses.replace(base, steps=steps))
        for steps in ("joint", "separate")
    )
    np.testing.assert_allclose(
        separate.history.losses[..., 0], joint.history.losses[..., 0], rtol=1e-3
    )


def test_separate_steps_are_iit_then_strict_then_behaviour() -> None:
    params = init_params(MODEL, jax.random.key(1))
    batch = draw_batch(
        copy_problem(),
        jax.random.key(2),
        batch_size=8,
        strict_sampling="all",
        variable_sampling="per_batch",
    )
    optimizer = make_optimizer(clip_norm=1.0, beta1=0.9, beta2=0.9)
    step = functools.partial(
        TRAIN_STEP,
        batch=batch,
        free=FREE,
        learning_rate=jnp.array(1e-2),
        model=MODEL,
        optimizer=optimizer,
        outside="train",
        source_gradient=True,
    )
    weights = jnp.array([0.5, 2.0, 1.5])
    state = optimizer.init(params)
    separate, _, losses = step(params, state, weights=weights, steps="separate")
    seen = {}
    for which in (1, 2, 0):
        one = jnp.zeros(3).at[which].set(weights[which])
        params, state, found = step(params, state, weights=one, steps="joint")
        seen[which] = found[which]
    np.testing.assert_allclose(losses, [seen[0], seen[1], seen[2]], rtol=1e-4)
    expected = dict(jax.tree_util.tree_leaves_with_path(params))
    for path, ours in jax.tree_util.tree_leaves_with_path(separate):
        if path[-1].key != "b_K":  # adds the same to all scores, so its gradient is rounding
            np.testing.assert_allclose(ours, expected[path], atol=1e-5, err_msg=str(path))


@pytest.mark.slow
def test_the_last_round_is_shorter_if_batches_run_out() -> None:
    """The length of rounds does not change the training."""
    ends = []
    for round_batches, rounds in ((20, 3), (10, 5)):
        config = dataclasses.replace(
            QUICK, max_batches=50, round_batches=round_batches, threshold=1.0
        )
        assert config.n_rounds == rounds and config.batches_after(rounds) == 50
        states: list[TrainState] = []
        train_siit(copy_problem(), MODEL, config, on_round=states.append)
        assert len(states) == rounds
        ends.append(states[-1])
    long, short = ends
    expected = dict(jax.tree_util.tree_leaves_with_path(short.params))
    for path, ours in jax.tree_util.tree_leaves_with_path(long.params):
        if path[-1].key != "b_K":  # adds the same to all scores, so its gradient is rounding
            np.testing.assert_allclose(ours, expected[path], atol=1e-5, err_msg=str(path))
    np.testing.assert_allclose(long.history.losses[0, 2], short.history.losses[0, 4], rtol=1e-3)
