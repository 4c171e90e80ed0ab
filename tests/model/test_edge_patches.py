"""A separate edge patch for each row equals one patched run for each, gradients included."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from interpbench_jax.model import EdgePatch, Graph
from interpbench_jax.model.forward import forward_edge_patches
from interpbench_jax.model.network import Network, TransformerNetwork

# The causal model with LayerNorm stands for the plain causal one, which is left to slow tests.
pytestmark = pytest.mark.parametrize(
    "config",
    ["bidirectional", "layer_norm", pytest.param("causal", marks=pytest.mark.slow)],
    indirect=True,
    scope="session",
)


@functools.partial(jax.jit, static_argnames=("config", "way"))
def logits_and_gradient(params, config, base, source, masks, way, positions=None):
    """Logits of both runs, and the gradient of a weighted sum of them."""
    network = TransformerNetwork(config)
    run = network.run_edge_patches
    if way == "one each":
        run = functools.partial(Network.run_edge_patches, network)

    def weighted(params):
        logits = jnp.stack(run(params, base, source, masks, positions))
        weights = jnp.sin(jnp.arange(logits.size, dtype=float)).reshape(logits.shape)
        return (logits * weights).sum(), logits

    gradient, logits = jax.grad(weighted, has_aux=True)(params)
    return logits, gradient


@pytest.fixture
def masks(config, tokens):
    """Nothing, everything, then random sets; some contain pairs that are not edges."""
    graph = Graph.of(config)
    drawn = np.random.default_rng(0).random((len(tokens), *graph.valid.shape)) < 0.5
    drawn[0], drawn[1] = 0, 1
    return jnp.asarray(drawn, jnp.float32)


def test_each_row_is_patched_by_its_own_mask(config, params, tokens, other_tokens, masks, run):
    logits, _ = logits_and_gradient(params, config, tokens, other_tokens, masks, "joined")
    on_source, written = run(params, config, other_tokens)
    np.testing.assert_allclose(logits[0], on_source, atol=1e-5)
    for row, mask in enumerate(masks):
        one = slice(row, row + 1)
        expected, _ = run(params, config, tokens[one], EdgePatch(mask, written[one]))
        np.testing.assert_allclose(logits[1, one], expected, atol=1e-5)


def test_gradients_flow_into_both_runs(config, params, tokens, other_tokens, masks):
    given = params, config, tokens, other_tokens, masks
    _, found = logits_and_gradient(*given, "joined")
    _, expected = logits_and_gradient(*given, "one each")
    for path, leaf in jax.tree_util.tree_leaves_with_path(expected):
        own = functools.reduce(lambda tree, key: tree[key.key], path, found)
        np.testing.assert_allclose(own, leaf, atol=2e-4, err_msg=str(path))


@pytest.fixture
def positions(tokens):
    """Random ones for each row, but none for the row that patches all edges."""
    drawn = np.random.default_rng(1).random(tokens.shape) < 0.5
    drawn[1] = 0
    return jnp.asarray(drawn, jnp.float32)


def test_each_row_is_patched_at_its_own_positions(
    config, params, tokens, other_tokens, masks, positions, run
):
    given = params, config, tokens, other_tokens, masks
    logits, found = logits_and_gradient(*given, "joined", positions)
    _, written = run(params, config, other_tokens)
    for row, mask in enumerate(masks):
        one = slice(row, row + 1)
        patch = EdgePatch(mask, written[one], positions[one])
        expected, _ = run(params, config, tokens[one], patch)
        np.testing.assert_allclose(logits[1, one], expected, atol=1e-5)
    unpatched, _ = run(params, config, tokens)
    np.testing.assert_allclose(logits[1, 1], unpatched[1], atol=1e-5)
    _, gradient = logits_and_gradient(*given, "one each", positions)
    for own, other in zip(jax.tree.leaves(found), jax.tree.leaves(gradient), strict=True):
        np.testing.assert_allclose(own, other, atol=2e-4)


def test_shapes_that_do_not_fit_are_refused(config, params, tokens, other_tokens, masks):
    with pytest.raises(ValueError, match="patched_at has shape"):
        at = jnp.ones((1, tokens.shape[1]))
        forward_edge_patches(params, config, tokens, other_tokens, masks, at)
    with pytest.raises(ValueError, match="masks have shape"):
        forward_edge_patches(params, config, tokens, other_tokens, masks[:, :, :-1])
    with pytest.raises(ValueError, match="source"):
        forward_edge_patches(params, config, tokens, other_tokens[:1], masks)
