"""Baselines, compared with scores computed by hand."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from interpbench_jax.discovery import METHODS, ContrastBatch, contrast_batch
from interpbench_jax.discovery.losses import cross_entropy
from interpbench_jax.discovery.position_shares import position_shares
from interpbench_jax.model import Graph, TransformerConfig


@pytest.fixture(scope="module")
def task(small, make_params, make_batch):
    params = make_params(small, seed=1)
    return params, small, make_batch(params, small)


def test_weight_magnitude_by_hand(make_params):
    """The input writes rows for tokens, (3, 0), (0, 0), and for positions, (0, 2), (0, 0)."""
    config = TransformerConfig(
        n_layers=1, n_heads=1, d_model=2, d_head=1, d_mlp=1, n_ctx=2, d_vocab=2, d_vocab_out=1
    )
    params = jax.tree.map(jnp.zeros_like, dict(make_params(config)))
    params["embed"]["W_E"] = jnp.array([[3.0, 0.0], [0.0, 0.0]])
    params["pos_embed"]["W_pos"] = jnp.array([[0.0, 2.0], [0.0, 0.0]])
    block = params["blocks_0"]
    block["attn"]["W_Q"] = jnp.array([[[0.0], [5.0]]])  # only the position: 2 * 5
    block["attn"]["W_K"] = jnp.array([[[4.0], [0.0]]])  # only the token: 3 * 4
    block["attn"]["W_O"] = jnp.array([[[1.0, 1.0]]])
    block["mlp"]["W_in"] = jnp.array([[1.0], [2.0]])  # both: 3 and 4, norm 5
    block["mlp"]["W_out"] = jnp.array([[0.0, 6.0]])
    params["unembed"]["W_U"] = jnp.array([[0.0], [0.5]])
    tokens = jnp.zeros((1, 2), int)
    batch = contrast_batch(params, config, tokens, tokens, tokens, jnp.ones((1, 2)))
    scores = METHODS["weight_magnitude"](params, config, batch, cross_entropy)
    q, k, v, mlp, logits = range(5)
    expected = np.zeros((3, 5))
    expected[0, [q, k, v, mlp, logits]] = 10, 12, 0, 5, 1
    expected[1, [mlp, logits]] = 3, 0.5
    expected[2, logits] = 3
    np.testing.assert_allclose(scores, expected, rtol=1e-6)


def test_weight_magnitude_is_the_norm_of_the_product(task):
    params, config, _ = task
    graph = Graph.of(config)
    scores = METHODS["weight_magnitude"](*task, cross_entropy)

    def norm(writes, reads):
        return np.linalg.norm(np.asarray(writes) @ np.asarray(reads))

    first, second = params["blocks_0"], params["blocks_1"]
    inputs = np.concatenate([params["embed"]["W_E"], params["pos_embed"]["W_pos"]])
    by_hand = {
        ("input", "a0.h1<k>"): norm(inputs, first["attn"]["W_K"][1]),
        ("input", "logits"): norm(inputs, params["unembed"]["W_U"]),
        ("a0.h1", "a1.h0<q>"): norm(first["attn"]["W_O"][1], second["attn"]["W_Q"][0]),
        ("a1.h0", "m1"): norm(second["attn"]["W_O"][0], second["mlp"]["W_in"]),
        ("m0", "a1.h1<v>"): norm(first["mlp"]["W_out"], second["attn"]["W_V"][1]),
        ("m1", "logits"): norm(second["mlp"]["W_out"], params["unembed"]["W_U"]),
    }
    for (writer, reader), expected in by_hand.items():
        found = scores[graph.writer_index(writer), graph.reader_index(reader)]
        np.testing.assert_allclose(found, expected, rtol=1e-4, err_msg=f"{writer}->{reader}")


def test_activation_magnitude_is_the_size_of_the_change(task):
    *_, batch = task
    scores = METHODS["activation_magnitude"](*task, cross_entropy)
    change = np.asarray(batch.source - batch.written)  # BOS included
    expected = np.sqrt((change**2).sum(-1).mean((0, 1)))
    np.testing.assert_allclose(scores[:, -1], expected, rtol=1e-5)


def test_information_flow_by_hand(task):
    """Scores into the logits, in NumPy; the shares of each reader add up to one."""
    params, config, batch = task
    graph = Graph.of(config)
    scores = np.asarray(METHODS["information_flow_routes"](*task, cross_entropy))
    np.testing.assert_allclose(scores.sum(0), 1, atol=1e-5)
    written = np.asarray(batch.written, np.float64)
    for reader in ("logits", "a1.h0<k>", "m1"):
        r = graph.reader_index(reader)
        parts = written[:, :, graph.valid[:, r]]
        total = parts.sum(2, keepdims=True)
        close = np.abs(total).sum(-1) - np.abs(total - parts).sum(-1)
        close = np.maximum(close, 0)
        share = (close / close.sum(-1, keepdims=True)).mean((0, 1))
        np.testing.assert_allclose(scores[graph.valid[:, r], r], share, atol=1e-5)


# Positions that count, of inputs padded with token 3, and positions that are averaged over.
COUNTED = {
    "the last one": ([[0, 1, 2]], [[0, 0, 1]], [[1, 1, 1]]),
    "all but BOS": ([[0, 1, 2]], [[0, 1, 1]], [[1, 1, 1]]),
    "rows of several lengths": (
        [[0, 1, 3], [0, 3, 3]],
        [[0, 1, 0], [1, 0, 0]],
        [[1, 1, 0], [1, 0, 0]],
    ),
    "padding in front": ([[3, 0, 2]], [[0, 0, 1]], [[0, 1, 1]]),
    "a row that counts nothing": (
        [[0, 1, 2], [0, 1, 1]],
        [[0, 2, 0], [0, 0, 0]],
        [[1, 1, 0], [0, 0, 0]],
    ),
}


@pytest.mark.parametrize("kind", COUNTED)
def test_positions_up_to_the_last_that_counts(task, kind):
    """All with equal weight: changes at one of them change the score, changes at others do not."""
    tokens, counted = map(jnp.array, COUNTED[kind][:2])
    expected = np.array(COUNTED[kind][2])
    config = dataclasses.replace(task[1], pad=3, causal=True)
    graph = Graph.of(config)
    writer, reader = graph.writer_index("m0"), graph.reader_index("logits")
    written = jnp.ones((*expected.shape, graph.n_writers, config.d_model)).at[:, :, writer].set(0)
    batch = ContrastBatch(
        *(tokens, tokens, tokens, jnp.zeros((*tokens.shape, 3)), counted.astype(float)),
        *(written, written),
    )
    shares = position_shares(config, batch)
    np.testing.assert_allclose(shares, expected / expected.sum(), rtol=1e-6)
    for row, pos in np.ndindex(expected.shape):
        changed = written.at[row, pos, writer].set(2.0)
        for name, field in (
            ("activation_magnitude", "source"),
            ("information_flow_routes", "written"),
        ):
            scores = METHODS[name]({}, config, batch._replace(**{field: changed}), cross_entropy)
            assert (scores[writer, reader] > 0) == expected[row, pos], (name, row, pos)


def test_later_positions_count_if_attention_is_not_causal(task):
    config = dataclasses.replace(task[1], pad=3, causal=False)
    tokens = jnp.array([[0, 1, 2], [0, 1, 3], [0, 1, 2]])
    counted = jnp.array([[0.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    batch = ContrastBatch(
        *(tokens, tokens, tokens, jnp.zeros((3, 3, 3)), counted), written=None, source=None
    )
    expected = np.array([[1, 1, 1], [1, 1, 0], [0, 0, 0]]) / 5
    np.testing.assert_allclose(position_shares(config, batch), expected, rtol=1e-6)


def test_random_scores_depend_only_on_the_key(task):
    first = METHODS["random"](*task, cross_entropy, key=jax.random.key(1))
    second = METHODS["random"](*task, cross_entropy, key=jax.random.key(2))
    assert (first != second).any()


def test_the_prior_knows_kinds_and_layers(task):
    graph = Graph.of(task[1])
    scores = METHODS["structural_prior"](*task, cross_entropy)
    assert np.unique(scores[0, graph.attention_readers(0)]).size == 3  # q, k and v
    into_mlps = scores[0, jnp.array([graph.mlp_reader(0), graph.mlp_reader(1)])]
    assert into_mlps[0] > 0.5 > into_mlps[1]  # most circuits begin with input->m0


def test_the_oracle_needs_the_truth(task):
    truth = np.zeros(Graph.of(task[1]).valid.shape, bool)
    truth[0, -1] = True
    np.testing.assert_array_equal(METHODS["oracle"](*task, cross_entropy, truth=truth), truth)
    with pytest.raises(ValueError, match="oracle needs the truth"):
        METHODS["oracle"](*task, cross_entropy)


def test_the_true_circuit_must_have_the_right_shape(task, no_shape_checks):
    """A transposed one and one that could be broadcast are refused."""
    for shape in [(15, 7), (7, 1)]:
        match = rf"truth has shape \({shape[0]}, {shape[1]}\), .*: \(7, 15\)"
        with pytest.raises(ValueError, match=match):
            METHODS["oracle"](*task, cross_entropy, truth=np.ones(shape, bool))
