"""Directions of the optimizers: which arrays Muon moves as matrices, and which Adam moves."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from interpbench_jax.model import init_params
from interpbench_jax.siit import init_states, members, train_siit
from interpbench_jax.siit import train as loop
from interpbench_jax.siit.optimizer import make_optimizer
from tests.siit.test_train import MODEL, QUICK, copy_problem

pytestmark = pytest.mark.xdist_group("training")  # as `test_train`
SETTINGS = {"clip_norm": 1e9, "beta1": 0.9, "beta2": 0.99}
MUON = dataclasses.replace(QUICK, optimizer="muon", max_batches=150, round_batches=50)


@jax.jit
def direction(params, gradient):
    optimizer = make_optimizer("muon", **SETTINGS)
    return optimizer.update(gradient, optimizer.init(params), params)[0]


def some_gradient(params, seed: int = 3):
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(seed), len(leaves))
    drawn = [jax.random.normal(key, leaf.shape) for key, leaf in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(tree, drawn)


def test_every_matrix_moves_along_its_orthogonal_factor() -> None:
    """The factor U V of U S V, which NumPy computes; Newton-Schulz is inexact by design."""
    params = init_params(MODEL, jax.random.key(1))
    gradient = some_gradient(params)
    moved = direction(params, gradient)["blocks_0"]
    given = gradient["blocks_0"]
    for part, name in (("attn", "W_Q"), ("attn", "W_O"), ("mlp", "W_in"), ("mlp", "W_out")):
        ours, wanted = np.asarray(moved[part][name]), np.asarray(given[part][name])
        u, _, v = np.linalg.svd(wanted, full_matrices=False)
        exact = u @ v  # of each head, where there are heads
        together = (ours * exact).sum((-2, -1))
        cosine = (
            together / np.linalg.norm(ours, axis=(-2, -1)) / np.linalg.norm(exact, axis=(-2, -1))
        )
        assert (cosine > 0.95).all(), name
        sizes = np.linalg.svd(ours, compute_uv=False)
        wider = max(1.0, ours.shape[-1] / ours.shape[-2]) ** 0.5
        assert (sizes > 0.5 * wider).all() and (sizes < 1.3 * wider).all(), name


def test_a_heads_direction_does_not_depend_on_other_heads() -> None:
    params = init_params(MODEL, jax.random.key(1))
    gradient = some_gradient(params)
    other = jax.tree.map(lambda x: x, gradient)
    attn = other["blocks_0"]["attn"]
    attn["W_Q"] = attn["W_Q"].at[1].multiply(-3.0)
    before, after = (direction(params, one)["blocks_0"]["attn"]["W_Q"] for one in (gradient, other))
    np.testing.assert_allclose(before[0], after[0], rtol=1e-4)
    assert (np.sign(before[1]) != np.sign(after[1])).all()


def test_biases_and_embeddings_move_by_adam_at_three_tenths_of_the_rate() -> None:
    params = init_params(MODEL, jax.random.key(1))
    gradient = some_gradient(params)
    adam = optax.scale_by_adam(b1=SETTINGS["beta1"], b2=SETTINGS["beta2"], nesterov=True)
    expected = adam.update(gradient, adam.init(params), params)[0]
    moved = direction(params, gradient)
    of_adam = 0
    for path, ours in jax.tree_util.tree_leaves_with_path(moved):
        names = [part.key for part in path]
        if names[-1].startswith("b_") or {"embed", "pos_embed", "unembed"} & set(names):
            theirs = expected
            for name in names:
                theirs = theirs[name]
            np.testing.assert_allclose(ours, 0.3 * theirs, rtol=1e-4, err_msg=names[-1])
            of_adam += 1
    assert of_adam == 10


def test_a_network_without_matrices_is_moved_by_adam() -> None:
    params = {"scale": jnp.array([1.0, 2.0]), "shift": jnp.array(3.0)}
    gradient = {"scale": jnp.array([1.0, -2.0]), "shift": jnp.array(4.0)}
    moved = direction(params, gradient)
    adam = optax.nadam(-0.3, b1=SETTINGS["beta1"], b2=SETTINGS["beta2"])
    expected = adam.update(gradient, adam.init(params), params)[0]
    for name, ours in moved.items():
        np.testing.assert_allclose(ours, expected[name], rtol=1e-5)


def test_training_with_muon_learns_and_can_be_resumed() -> None:
    given = copy_problem()
    whole = train_siit(given, MODEL, MUON, validation=given)
    n_rounds = int(whole.rounds[0])
    losses = np.asarray(whole.history.losses)[0].sum(1)
    assert losses[n_rounds - 1] < 0.5 * losses[0]
    state = init_states(members(MUON), given, MODEL)
    for _ in range(n_rounds):
        state = loop.advance(state, given, given.take(slice(8)), model=MODEL, config=MUON)
    np.testing.assert_array_equal(whole.history.losses, state.history.losses)
