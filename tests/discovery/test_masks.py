"""Methods that learn masks: the distribution, and results on a model with known edges."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from interpbench_jax.benchmark import make_contrast
from interpbench_jax.discovery import (
    METHODS,
    Learning,
    contrast_batch,
    probe_edges,
    prune_edges,
    sample_gradients,
    usual_loss,
)
from interpbench_jax.discovery.hard_concrete import keep_probability, sample_hard_concrete
from interpbench_jax.discovery.losses import squared_error_to_clean
from interpbench_jax.discovery.mask_learning import LEARNING, learn_masks
from interpbench_jax.model import Graph, TransformerConfig, init_params
from interpbench_jax.zoo import load_model

BRIEFLY = Learning(steps=150, learning_rate=0.2, batch_size=8)


def test_samples_are_kept_with_the_given_probability():
    """Many draws are exactly 0 or 1."""
    for logit in (-2.0, 0.0, 3.0):
        drawn = sample_hard_concrete(jax.random.key(0), jnp.full(20_000, logit))
        kept = keep_probability(jnp.array([logit]))[0]
        np.testing.assert_allclose((drawn > 0).mean(), kept, atol=0.01)
        assert ((drawn == 0) | (drawn == 1)).mean() > 0.1
        assert drawn.min() >= 0 and drawn.max() <= 1


def test_a_mask_at_zero_has_a_gradient_unless_it_is_clipped():
    logits = jnp.zeros(1000)
    key = jax.random.key(1)
    slope = jax.grad(lambda x: sample_hard_concrete(key, x).sum())(logits)
    drawn = sample_hard_concrete(key, logits)
    np.testing.assert_array_equal(slope > 0, (drawn > 0) & (drawn < 1))


@pytest.fixture(scope="module")
def one_way():
    """One layer in which only the path input->m0->logits carries information.

    The input writes to a direction that the output map does not read; the MLP copies it to one
    that it does. The head's output map is zero.
    """
    config = TransformerConfig(
        n_layers=1,
        n_heads=1,
        d_model=2,
        d_head=1,
        d_mlp=1,
        n_ctx=2,
        d_vocab=4,
        d_vocab_out=1,
        activation="relu",
    )
    params = jax.tree.map(jnp.zeros_like, dict(init_params(config, jax.random.key(0))))
    params["embed"]["W_E"] = jnp.array([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [3.0, 0.0]])
    params["blocks_0"]["mlp"]["W_in"] = jnp.array([[1.0], [0.0]])
    params["blocks_0"]["mlp"]["W_out"] = jnp.array([[0.0, 1.0]])
    params["unembed"]["W_U"] = jnp.array([[0.0], [1.0]])
    clean, corrupted = jax.random.randint(jax.random.key(1), (2, 32, 2), 0, 4)
    batch = contrast_batch(
        params, config, clean, corrupted, clean.astype(float), positions=jnp.ones((32, 2))
    )
    return params, config, batch


@pytest.mark.parametrize(
    ("name", "knobs"),
    [
        ("edge_probing", {"penalties": (0.1, 0.3)}),
        ("uniform_gradient_sampling", {"penalties": (0.1, 0.3)}),
        ("edge_pruning", {"shares": (0.25, 0.3)}),  # of eight edges
    ],
)
def test_the_two_edges_that_matter_are_kept(one_way, name, knobs):
    params, config, batch = one_way
    graph = Graph.of(config)
    scores = METHODS[name](params, config, batch, squared_error_to_clean, learning=BRIEFLY, **knobs)
    by_name = {
        (graph.writers[w], graph.readers[r]): float(scores[w, r]) for w, r in graph.edges.tolist()
    }
    matter = [by_name.pop(edge) for edge in (("input", "m0"), ("m0", "logits"))]
    assert min(matter) > 0.8 and max(by_name.values()) < 0.35


def test_the_nodes_that_matter_are_kept(one_way):
    params, config, batch = one_way
    scores = METHODS["node_probing"](
        params, config, batch, squared_error_to_clean, penalties=(0.1, 0.3), learning=BRIEFLY
    )
    assert scores[0] > 0.8 and scores[2] > 0.8 and scores[1] < 0.35


def test_a_heavier_penalty_keeps_less(one_way):
    for learn in (probe_edges, sample_gradients):
        learnt = learn(
            *one_way,
            squared_error_to_clean,
            jnp.array([0.01, 100.0]),
            jax.random.key(0),
            BRIEFLY,
        )
        assert learnt.losses.shape == learnt.sizes.shape == (2, BRIEFLY.steps)
        assert learnt.sizes[0, -1] > learnt.sizes[1, -1] + 0.2
        assert learnt.losses[1, -20:].mean() > learnt.losses[0, -20:].mean() + 0.5


@pytest.mark.parametrize("p", [0.5, 0.8])
def test_masks_of_uniform_gradient_sampling(one_way, monkeypatch, p):
    """Kept in part with probability w = p (1 - p), then uniformly; fully with p - w / 2.

    The loss is the mask of input->m0, whose logit stays, since the learning rate is tiny.
    """
    module = sys.modules[sample_gradients.__module__]
    monkeypatch.setattr(module, "INITIAL_LOGIT", np.log(p / (1 - p)))
    monkeypatch.setattr(module, "edge_masked_loss", lambda params, network, rows, loss: loss)
    still = Learning(steps=5_000, learning_rate=1e-9)
    learnt = sample_gradients(
        *one_way, lambda mask: mask[0, 3], jnp.array([1.0]), jax.random.key(0), still
    )
    kept = 1 - np.asarray(learnt.losses[0])
    partly, w = kept[(kept > 0) & (kept < 1)], p * (1 - p)
    np.testing.assert_allclose(len(partly) / len(kept), w, atol=0.03)
    np.testing.assert_allclose((kept == 1).mean(), p - w / 2, atol=0.03)
    quarters, _ = np.histogram(partly, 4, (0, 1))
    np.testing.assert_allclose(quarters / len(partly), 1 / 4, atol=0.06)


def test_all_rows_are_drawn_equally_often(one_way):
    """Two of eight rows for each step; their numbers are their targets and their tokens."""
    *_, batch = one_way
    rows = jnp.broadcast_to(jnp.arange(8)[:, None], (8, 2))
    batch = jax.tree.map(lambda array: array[:8], batch)
    batch = batch._replace(clean=rows, target=rows.astype(float))

    def numbers(masks, key, rows, setting):
        return 0 * masks, (rows.target[0, 0], rows.clean[1, 0].astype(float))

    learning = Learning(steps=2_000, batch_size=2)
    given = (jnp.zeros(()), jnp.array([1.0]), batch, jax.random.key(0), learning)
    _, first, second = jax.jit(lambda: learn_masks(numbers, *given))()
    for drawn in (first, second):
        shares = np.bincount(np.asarray(drawn[0], int), minlength=8) / learning.steps
        np.testing.assert_allclose(shares, 1 / 8, atol=0.04)


@pytest.mark.slow
def test_pruning_reaches_the_given_share_on_a_trained_model():
    """With default settings, also for shares below the six of 110 edges that matter."""
    model = load_model("3")
    batch = make_contrast(model, jax.random.key(0), n_inputs=256)
    shares = jnp.array([0.02, 0.1, 0.4])
    loss = usual_loss("edge_pruning", categorical=False)
    learnt = prune_edges(
        model.params, model.config, batch, loss, shares, jax.random.key(0), LEARNING
    )
    np.testing.assert_allclose(learnt.sizes[:, -1], shares, atol=0.01)
    assert learnt.sizes[:, 0].min() > 0.9  # and falls while masks are learnt


def test_shares_are_at_most_1(one_way):
    with pytest.raises(ValueError, match="shares must be at most 1, got"):
        METHODS["edge_pruning"](*one_way, squared_error_to_clean, shares=(0.5, 1.5))


def test_settings_do_not_affect_each_other(one_way):
    penalties = jnp.array([0.1, 1.0])
    given = (jax.random.key(0), BRIEFLY._replace(steps=5))
    both = probe_edges(*one_way, squared_error_to_clean, penalties, *given)
    for i in range(2):
        alone = probe_edges(*one_way, squared_error_to_clean, penalties[i : i + 1], *given)
        np.testing.assert_allclose(both.kept[i], alone.kept[0], atol=1e-6)
        np.testing.assert_allclose(both.losses[i], alone.losses[0], atol=1e-6)


@pytest.mark.parametrize("penalties", [(), (0.0, 1.0), (1.0, 0.1), (-1.0,)])
def test_penalties_ascend(one_way, penalties):
    with pytest.raises(ValueError, match="penalties must be positive, ascending and distinct, got"):
        METHODS["edge_probing"](*one_way, squared_error_to_clean, penalties=penalties)


@pytest.mark.parametrize("field", Learning._fields)
def test_learning_needs_positive_numbers(one_way, field):
    with pytest.raises(ValueError, match=f"{field} must be positive, got 0"):
        METHODS["node_probing"](
            *one_way, squared_error_to_clean, learning=Learning()._replace(**{field: 0})
        )


def test_rows_that_only_fill_a_batch_are_never_drawn(one_way):
    *_, batch = one_way
    batch = jax.tree.map(lambda array: array[:8], batch)
    counts = jnp.array([0, 1, 0, 1, 0, 0, 1, 0], float)
    batch = batch._replace(positions=jnp.ones_like(batch.positions) * counts[:, None])

    def counted(masks, key, rows, setting):
        return 0 * masks, (rows.positions.min(), rows.positions.max())

    learning = Learning(steps=200, batch_size=2)
    given = (jnp.zeros(()), jnp.array([1.0]), batch, jax.random.key(0), learning)
    _, least, most = jax.jit(lambda: learn_masks(counted, *given))()
    assert (least == 1).all() and (most == 1).all()
