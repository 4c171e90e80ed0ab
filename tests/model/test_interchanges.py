"""Several interchanges in one run equal one patched run for each, gradients included."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from interpbench_jax.model import Graph, NodePatch, forward, forward_interchanges
from interpbench_jax.model.network import Network, TransformerNetwork

FLOWS = (True, False)
# The causal model with LayerNorm stands for the plain causal one, which is left to slow tests.
CAUSAL_OR_NOT = pytest.mark.parametrize(
    "config",
    ["bidirectional", "layer_norm", pytest.param("causal", marks=pytest.mark.slow)],
    indirect=True,
    scope="session",
)


def draw_masks(graph: Graph, rows: int, seed: int = 0) -> jnp.ndarray:
    """Three interventions: none, one node, about half of the nodes (different in each row)."""
    drawn = np.random.default_rng(seed).random((rows, graph.n_writers)) < 0.5
    one = graph.one_hot([graph.writers[-2]]).repeat(rows, 0)
    return jnp.asarray(np.stack([np.zeros_like(one), one, drawn]), jnp.float32)


@functools.partial(jax.jit, static_argnames="config")
def logits_of_flows(params, config, base, source, masks):
    """Logits under each intervention, with and without gradients into the source."""
    run = TransformerNetwork(config).run_interchanges
    return [run(params, base, source, masks, source_gradient=flow) for flow in FLOWS]


@functools.partial(jax.jit, static_argnames=("config", "way", "source_gradient"))
def logits_and_gradient(params, config, base, source, masks, detached, way, source_gradient):
    """Logits under each intervention, and the gradient of a weighted sum of them."""
    network = TransformerNetwork(config)
    run = (
        network.run_interchanges
        if way == "joined"
        else functools.partial(
            Network.run_interchanges,
            network,  # one run on the source, one patched run
        )
    )

    def weighted(params):
        logits = run(
            params, base, source, masks, detached=detached, source_gradient=source_gradient
        )
        weights = jnp.sin(jnp.arange(logits.size, dtype=float)).reshape(logits.shape)
        return (logits * weights).sum(), logits

    gradient, logits = jax.grad(weighted, has_aux=True)(params)
    return logits, gradient


@pytest.mark.parametrize("rows", ["shared", "own"])
def test_agrees_with_one_patched_run_each(config, params, tokens, other_tokens, rows, run):
    masks = draw_masks(Graph.of(config), len(tokens) if rows == "own" else 1)
    found = logits_of_flows(params, config, tokens, other_tokens, masks)
    _, written = run(params, config, other_tokens)
    for which, mask in enumerate(masks):
        patch = NodePatch(mask if len(mask) > 1 else mask[0], written)
        expected, _ = run(params, config, tokens, patch)
        for logits in found:
            np.testing.assert_allclose(logits[which], expected, atol=1e-5)


@CAUSAL_OR_NOT
@pytest.mark.parametrize(
    "closed", [pytest.param(False, marks=pytest.mark.slow), True], ids=["open", "detached"]
)
def test_gradients_into_the_source_agree(config, params, tokens, other_tokens, closed):
    graph = Graph.of(config)
    detached = jnp.arange(graph.n_writers) % 3 == 1
    given = (params, config, tokens, other_tokens, draw_masks(graph, 1))
    (_, joined), (_, apart) = (
        logits_and_gradient(*given, detached.astype(float) if closed else None, way, True)
        for way in ("joined", "apart")
    )
    leaves = jax.tree_util.tree_leaves_with_path(joined)
    for (path, found), expected in zip(leaves, jax.tree.leaves(apart), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-4, err_msg=str(path))


@CAUSAL_OR_NOT
def test_a_fixed_source_affects_only_gradients_of_mlp_output_maps(
    config, params, tokens, other_tokens, run
):
    """All other weights have the same gradient as with a detached source.

    An MLP's output is linear in its map, so the source's part of gradient times weights is the
    gradient by the patched values, times these values.
    """
    graph = Graph.of(config)
    mask = jnp.asarray(graph.one_hot([f"m{config.n_layers - 1}", "a0.h1"]).sum(0), jnp.float32)
    given = (params, config, tokens, other_tokens, mask[None, None], None)
    (logits, joined), (_, cut) = (
        logits_and_gradient(*given, way, False) for way in ("joined", "apart")
    )
    weights = jnp.sin(jnp.arange(logits.size, dtype=float)).reshape(logits.shape)[0]
    _, written = run(params, config, other_tokens)

    def patched(source):
        return (forward(params, config, tokens, NodePatch(mask, source))[0] * weights).sum()

    through_source = jax.jit(jax.grad(patched))(written) * written
    for layer in range(config.n_layers):
        block = f"blocks_{layer}"
        maps = {name: params[block]["mlp"][name] for name in ("W_out", "b_out")}
        added = sum(
            ((joined[block]["mlp"].pop(name) - cut[block]["mlp"].pop(name)) * weight).sum()
            for name, weight in maps.items()
        )
        expected = through_source[:, :, graph.mlp_writer(layer)].sum()
        np.testing.assert_allclose(added, expected, rtol=1e-4, atol=1e-4)
    leaves = jax.tree_util.tree_leaves_with_path(joined)
    for (path, found), expected in zip(leaves, jax.tree.leaves(cut), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-4, err_msg=str(path))


@pytest.mark.parametrize("source_gradient", FLOWS)
def test_nothing_passes_through_detached_nodes(
    variants, make_params, tokens, other_tokens, source_gradient
):
    """Neither in the runs on the base nor in the run on the source."""
    config = variants["causal"]
    params, graph = make_params(config), Graph.of(config)
    masks, closed = draw_masks(graph, 1), ["a0.h0", "m0"]
    detached = jnp.asarray(graph.one_hot(closed).sum(0), jnp.float32)
    _, gradient = logits_and_gradient(
        params, config, tokens, other_tokens, masks, detached, "joined", source_gradient
    )
    first = gradient["blocks_0"]
    for name in ("W_Q", "W_K", "W_V", "W_O", "b_Q", "b_K", "b_V"):
        np.testing.assert_array_equal(first["attn"][name][0], 0)
    assert all((x == 0).all() for x in first["mlp"].values())
    assert np.abs(first["attn"]["W_O"][1]).max() > 1e-3


def test_shapes_that_do_not_fit_are_refused(variants, make_params, tokens, other_tokens):
    config = variants["causal"]
    params, n_writers = make_params(config), Graph.of(config).n_writers
    with pytest.raises(ValueError, match=r"base has shape \(.*\), source \("):
        forward_interchanges(params, config, tokens, other_tokens[1:], jnp.zeros((1, 1, n_writers)))
    with pytest.raises(ValueError, match=r"masks have shape \(1, 2, 3\), expected"):
        forward_interchanges(params, config, tokens, other_tokens, jnp.zeros((1, 2, 3)))
    padded = dataclasses.replace(config, pad=3)
    shorter = jnp.array([[0, 1, 2, 3, 3]])
    with pytest.raises(ValueError, match="source has 3 tokens in row 0, expected padding after 5"):
        base, masks = jnp.array([[0, 1, 2, 1, 1]]), jnp.zeros((1, 1, n_writers))
        forward_interchanges(params, padded, base, shorter, masks)
