"""Scores that look at less than a method should, by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from interpbench_jax.discovery import METHODS
from interpbench_jax.discovery.losses import cross_entropy
from interpbench_jax.model import Graph


@pytest.fixture(scope="module")
def task(small, make_params, make_batch):
    params = make_params(small, seed=1)
    return params, small, make_batch(params, small)


def test_weight_magnitude_is_the_norm_of_the_product(task):
    params, config, _ = task
    graph = Graph.of(config)
    scores = METHODS["weight_magnitude"](*task, cross_entropy)

    def norm(writes, reads):
        return np.linalg.norm(np.asarray(writes) @ np.asarray(reads))

    first, second = params["blocks_0"], params["blocks_1"]
    by_hand = {
        ("input", "a0.h1<k>"): norm(params["embed"]["W_E"], first["attn"]["W_K"][1]),
        ("input", "logits"): norm(params["embed"]["W_E"], params["unembed"]["W_U"]),
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
    change = np.asarray(batch.source - batch.written)[:, 1:]  # BOS is not counted
    expected = np.sqrt((change**2).sum(-1).mean((0, 1)))
    np.testing.assert_allclose(scores[:, -1], expected, rtol=1e-5)


def test_information_flow_by_hand(task):
    """Into logits, in NumPy; shares of all readers add up to one."""
    params, config, batch = task
    graph = Graph.of(config)
    scores = np.asarray(METHODS["information_flow_routes"](*task, cross_entropy))
    np.testing.assert_allclose(scores.sum(0), 1, atol=1e-5)
    written = np.asarray(batch.written, np.float64)[:, 1:]
    for reader in ("logits", "a1.h0<k>", "m1"):
        r = graph.reader_index(reader)
        parts = written[:, :, graph.valid[:, r]]
        total = parts.sum(2, keepdims=True)
        close = np.abs(total).sum(-1) - np.abs(total - parts).sum(-1)
        close = np.maximum(close, 0)
        share = (close / close.sum(-1, keepdims=True)).mean((0, 1))
        np.testing.assert_allclose(scores[graph.valid[:, r], r], share, atol=1e-5)


def test_random_scores_depend_on_the_key_alone(task):
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
