"""Decoders: their parts, and equal outputs of every way to run them."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from interpbench_jax.discovery import METHODS, NODE_METHODS, Learning, contrast_batch
from interpbench_jax.discovery.losses import cross_entropy
from interpbench_jax.model import (
    Circuit,
    DecoderConfig,
    DecoderNetwork,
    EdgePatch,
    Graph,
    NodePatch,
    transformer_graph,
)
from interpbench_jax.model.decoders import Attention
from interpbench_jax.model.decoders.shapes import decoder_shapes
from interpbench_jax.model.network import Network, _forward

PLAIN = DecoderConfig(
    n_layers=2,
    n_heads=2,
    n_kv_heads=1,
    d_model=6,
    d_head=4,
    d_mlp=8,
    n_ctx=5,
    d_vocab=7,
    norm="rms_norm",
    norm_eps=1e-5,
    activation="silu",
    gated=True,
    attention=(Attention(rotary=(1.0, 0.1)),),
    init_std=0.5,
)
VARIANTS = {
    "parallel": dataclasses.replace(PLAIN, parallel=True, norm="layer_norm", gated=False),
    "post_norm": dataclasses.replace(PLAIN, post_norm=True, query_norm=True, tied=True),
}


@pytest.fixture(params=VARIANTS)
def network(request):
    return DecoderNetwork(VARIANTS[request.param])


@pytest.fixture
def params(network):
    """Random weights, also of biases."""
    rng = np.random.default_rng(0)
    return unflatten_dict(
        {
            path: rng.normal(path[-1] == "w", 0.5, shape).astype(np.float32)
            for path, shape in decoder_shapes(network.config).items()
        }
    )


@pytest.fixture
def tokens():
    return jax.random.randint(jax.random.key(2), (2, 3, 5), 0, 7)


def test_a_parallel_mlp_does_not_read_its_layers_heads():
    graph = transformer_graph(2, 2, parallel=True)
    assert not graph.valid[graph.writer_index("a1.h0"), graph.reader_index("m1")]
    assert graph.valid[graph.writer_index("a0.h1"), graph.reader_index("m1")]
    assert graph.valid[graph.writer_index("m0"), graph.reader_index("m1")]
    in_turn = transformer_graph(2, 2)
    assert (graph.writers, graph.readers) == (in_turn.writers, in_turn.readers)
    assert in_turn.valid.sum() - graph.valid.sum() == 4
    assert graph.stages.tolist() == [0] * 7 + [1] * 7 + [2]
    assert [graph.layers_before(stage) for stage in range(3)] == [0, 1, 2]
    assert [in_turn.layers_before(stage) for stage in range(5)] == [0, 1, 1, 2, 2]


def test_circuits_of_parallel_models_are_read_back():
    circuit = Circuit(transformer_graph(2, 2, parallel=True), frozenset({("a0.h1", "m1")}))
    assert Circuit.from_json(circuit.to_json()) == circuit
    with pytest.raises(ValueError, match="parallel must be true or false, got '1'"):
        Circuit.from_json(circuit.to_json().replace("true", "1"))


def test_initial_weights_have_their_shapes(network):
    drawn = flatten_dict(jax.eval_shape(network.init, jax.random.key(0)))
    assert {path: weight.shape for path, weight in drawn.items()} == decoder_shapes(network.config)


def test_every_weight_has_an_effect(network, params, tokens):
    gradient = jax.grad(lambda p: (network.run(p, tokens[0])[0] ** 2).sum())(params)
    for path, found in flatten_dict(gradient).items():
        assert np.abs(found).max() > 1e-6 or path[-1] == "b_K", path  # the softmax cancels it


@pytest.mark.slow
def test_a_run_from_the_middle_equals_a_whole_run(network, params, tokens):
    """Each edge is patched alone, and the run starts at the stage of its reader."""
    _, written = network.run(params, tokens[0])
    _, source = network.run(params, tokens[1])
    graph = network.graph
    masks = jax.nn.one_hot(
        graph.edges[:, 0] * graph.n_readers + graph.edges[:, 1], graph.valid.size
    ).reshape(-1, *graph.valid.shape)
    run = jax.jit(jax.vmap(lambda m: network.run(params, tokens[0], EdgePatch(m, source))[0]))
    whole = run(masks)
    stages = graph.stages[graph.edges[:, 1]]
    for stage in range(int(stages.max()) + 1):
        for only_there in (False, True):

            @jax.jit
            @jax.vmap
            def part(mask, stage=stage, only_there=only_there):
                patch = EdgePatch(mask, source)
                return network.run_from(
                    params, tokens[0], stage, written, patch, only_there=only_there
                )

            here = stages == stage
            np.testing.assert_allclose(part(masks[here]), whole[here], atol=1e-5)


@pytest.mark.slow
def test_many_patches_at_once_are_a_loop(network, params, tokens):
    base, source = tokens
    key, graph = jax.random.key(3), network.graph
    masks = jax.random.bernoulli(key, 0.5, (4, 3, graph.n_writers)).astype(float)
    args = params, base, source, masks
    ours = jax.jit(network.run_interchanges)(*args)
    expected = Network.run_interchanges(network, *args)
    np.testing.assert_allclose(ours, expected, atol=1e-5)
    edges = jax.random.bernoulli(key, 0.5, (3, *graph.valid.shape)).astype(float)
    args = params, base, source, edges
    found_runs = jax.jit(network.run_edge_patches)(*args)
    wanted_runs = jax.jit(lambda *args: Network.run_edge_patches(network, *args))(*args)
    for found, wanted in zip(found_runs, wanted_runs, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_patching_all_edges_of_a_writer_is_patching_it(network, params, tokens):
    _, source = network.run(params, tokens[1])
    graph = network.graph
    for index in range(graph.n_writers):
        nodes = jnp.zeros(graph.n_writers).at[index].set(1)
        by_node, _ = network.run(params, tokens[0], NodePatch(nodes, source))
        edges = jnp.zeros(graph.valid.shape).at[index].set(1)
        by_edges, _ = network.run(params, tokens[0], EdgePatch(edges, source))
        np.testing.assert_allclose(by_node, by_edges, atol=1e-5)


def test_runs_are_compiled_once(network, params, tokens):
    compiled: Any = _forward
    compiled.clear_cache()
    for row in (*tokens, tokens[0]):
        network.run(params, row)
    assert compiled._cache_size() == 1


def test_only_distances_between_positions_matter(network, params):
    """With rotary positions, the same three tokens later on, after a window, give the same."""
    attention = tuple(dataclasses.replace(a, window=1) for a in network.config.attention)
    alone = DecoderNetwork(dataclasses.replace(network.config, attention=attention))
    logits, _ = alone.run(params, jnp.array([[3, 3, 3, 3, 3]]))
    np.testing.assert_allclose(logits, jnp.broadcast_to(logits[:, :1], logits.shape), atol=1e-5)


def test_tokens_that_do_not_exist(network, params):
    with pytest.raises(ValueError, match="the input has token 7, expected one of the 7 from 0"):
        network.run(params, jnp.array([[7, 0]]))
    with pytest.raises(ValueError, match="sequence of 6 positions; the model takes at most 5"):
        network.run(params, jnp.zeros((1, 6), int))
    clean = jnp.array([[1, 0], [2, 0]])
    for most_held in (0, 2**20):  # outputs of writers are computed in chunks, or held
        for name, rows in (("clean", (clean + 5, clean)), ("corrupted", (clean, clean + 5))):
            with pytest.raises(ValueError, match=f"{name} has token 7, expected one of the 7"):
                contrast_batch(
                    params,
                    network,
                    *rows,
                    target=jnp.zeros_like(clean),
                    positions=jnp.ones(clean.shape),
                    most_held=most_held,
                )


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name, marks=() if name in ("eap", "activation_magnitude") else pytest.mark.slow
        )
        for name in sorted(set(METHODS) - {"oracle"})
    ],
)
def test_every_method_runs(name, network, params, tokens):
    clean, corrupted = tokens
    target = jnp.zeros(clean.shape, int)
    batch = contrast_batch(params, network, clean, corrupted, target, jnp.ones(clean.shape))
    quick: dict[str, dict[str, Any]] = {
        **dict.fromkeys(("edge_probing", "node_probing"), {"penalties": (1.0,)}),
        "uniform_gradient_sampling": {"penalties": (1.0,)},
        "edge_pruning": {"shares": (0.5,)},
    }
    knobs = quick.get(name, {})
    if name in quick:
        knobs = knobs | {"learning": Learning(steps=2)}
    scores = METHODS[name](params, network, batch, cross_entropy, **knobs)
    valid = network.graph.valid
    assert jnp.isfinite(scores).all()
    assert scores.shape == (valid.shape if name not in NODE_METHODS else valid.shape[:1])
    if name not in NODE_METHODS:
        assert not np.asarray(scores)[~valid].any()


@pytest.mark.slow
def test_attribution_is_the_derivative_of_exact_patching(network, params, tokens):
    """EAP is the derivative of the loss as an edge goes from clean to corrupted."""
    clean, corrupted = tokens
    batch = contrast_batch(
        *(params, network, clean, corrupted, jnp.zeros(clean.shape, int), jnp.ones(clean.shape))
    )
    scores, source = METHODS["eap"](params, network, batch, cross_entropy), batch.source
    assert source is not None

    def loss(mask):
        return cross_entropy(network.run(params, clean, EdgePatch(mask, source))[0], batch)

    slopes = jax.grad(loss)(jnp.zeros(network.graph.valid.shape))
    np.testing.assert_allclose(scores, slopes * network.graph.valid, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_heads": 0}, "n_heads must be a positive integer, got 0"),
        ({"d_model": 2**40}, "d_model must be at most 16777216, got 1099511627776"),
        ({"tied": 1}, "tied must be true or false, got 1"),
        ({"norm_eps": 0.0}, "norm_eps must be positive"),
        ({"logit_cap": -1.0}, "logit_cap must be positive"),
        ({"norm": "batch"}, "norm must be one of"),
        ({"activation": "mish"}, "activation must be one of"),
        ({"n_kv_heads": 4}, "n_heads must be a multiple of n_kv_heads, got 2 and 4"),
        ({"attention": (Attention(),) * 3}, "one entry or one per layer .2., got 3"),
        ({"attention": (Attention(rotary=(1.0,) * 3),)}, "3 pairs of dimensions; a head has 4"),
        ({"post_norm": True, "norm": "layer_norm"}, "post_norm needs norm 'rms_norm'"),
    ],
)
def test_impossible_shapes_are_refused(change, message, no_shape_checks):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(PLAIN, **change)


def test_one_attention_window_applies_to_all_layers():
    assert len(PLAIN.attention) == 2
    assert hash(PLAIN) == hash(dataclasses.replace(PLAIN, attention=PLAIN.attention[:1]))
    assert Graph.of(PLAIN) == transformer_graph(2, 2)
    with pytest.raises(ValueError, match="window must be a positive integer, got 0"):
        Attention(0)
