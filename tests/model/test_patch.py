"""Patches: identities between them, and comparisons with the slow reference."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from interpbench_jax.model import EdgePatch, Graph, NodePatch, Nudge, forward
from interpbench_jax.model.wiring import patch_nodes
from tests.model import numpy_reference


@pytest.fixture(scope="module")
def source(config, params, other_tokens, run):
    """Outputs of every writer on the other input."""
    return run(params, config, other_tokens)[1]


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def close(found, expected, atol=1e-5):
    """Whether logits and writers agree."""
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=atol)


def no_edges(config):
    return np.zeros(Graph.of(config).valid.shape, np.float32)


def no_nodes(config):
    return np.zeros(Graph.of(config).n_writers, np.float32)


@pytest.mark.parametrize("patch", [NodePatch, EdgePatch])
def test_zero_mask_is_the_model_itself(config, params, tokens, run, source, patch):
    mask = no_nodes(config) if patch is NodePatch else no_edges(config)
    patched = run(params, config, tokens, patch(jnp.asarray(mask), source))
    close(patched, run(params, config, tokens))


def test_entries_that_are_not_edges_have_no_effect(config, params, tokens, run, source):
    mask = jnp.asarray(~Graph.of(config).valid, jnp.float32)
    close(run(params, config, tokens, EdgePatch(mask, source)), run(params, config, tokens))


def test_all_nodes_patched_is_the_model_on_the_other_input(
    config, params, tokens, other_tokens, run, source
):
    patched = run(params, config, tokens, NodePatch(jnp.ones(source.shape[2]), source))
    assert np.abs(patched[0] - run(params, config, tokens)[0]).max() > 0.1
    close(patched, run(params, config, other_tokens))


def test_all_edges_patched_is_the_model_on_the_other_input(
    config, params, tokens, other_tokens, run, source
):
    """Every reader sees the source, so all writers except the input write what they write on it."""
    patched, writers = run(
        params, config, tokens, EdgePatch(jnp.ones_like(no_edges(config)), source)
    )
    logits, other_writers = run(params, config, other_tokens)
    np.testing.assert_allclose(patched, logits, atol=1e-5)
    np.testing.assert_allclose(writers[:, :, 1:], other_writers[:, :, 1:], atol=1e-5)
    clean_input = run(params, config, tokens)[1][:, :, 0]
    np.testing.assert_allclose(writers[:, :, 0], clean_input, atol=1e-5)


def test_one_edge_agrees_with_the_reference(config, params, tokens, run, source):
    """Each edge in turn, patched by a share other than 1; logits and writers are compared."""
    graph = Graph.of(config)
    named = numpy_reference.by_name(graph, source)
    for w, r in graph.edges[:: 3 if config.layer_norm else 5]:
        mask = no_edges(config)
        mask[w, r] = 0.75
        found = run(params, config, tokens, EdgePatch(jnp.asarray(mask), source))
        edge = {(graph.writers[w], graph.readers[r]): 0.75}
        logits, written = numpy_reference.forward(params, config, tokens, edges=edge, source=named)
        close(found, (logits, numpy_reference.stacked(written)), atol=1e-4)


def test_many_edges_agree_with_the_reference(config, params, tokens, run, source, rng):
    """A random share on every edge, with a source that no input gives."""
    graph = Graph.of(config)
    mask = rng.uniform(size=graph.valid.shape).astype(np.float32)
    source = jnp.asarray(rng.standard_normal(source.shape), jnp.float32)
    found = run(params, config, tokens, EdgePatch(jnp.asarray(mask), source))
    edges = {(graph.writers[w], graph.readers[r]): mask[w, r] for w, r in graph.edges}
    named = numpy_reference.by_name(graph, source)
    logits, written = numpy_reference.forward(params, config, tokens, edges=edges, source=named)
    close(found, (logits, numpy_reference.stacked(written)), atol=1e-4)


@pytest.mark.parametrize("readers", ["each", "alike"])
def test_edges_patched_at_some_positions_agree_with_the_reference(
    config, params, tokens, run, source, rng, readers
):
    graph = Graph.of(config)
    shape = graph.valid.shape if readers == "each" else (graph.n_writers, 1)
    mask = rng.uniform(size=shape).astype(np.float32)
    at = (rng.random(tokens.shape) < 0.5).astype(np.float32)
    found = run(params, config, tokens, EdgePatch(jnp.asarray(mask), source, jnp.asarray(at)))
    shares = np.broadcast_to(mask, graph.valid.shape)
    edges = {(graph.writers[w], graph.readers[r]): shares[w, r] * at for w, r in graph.edges}
    named = numpy_reference.by_name(graph, source)
    logits, written = numpy_reference.forward(params, config, tokens, edges=edges, source=named)
    close(found, (logits, numpy_reference.stacked(written)), atol=1e-4)


def test_patching_a_node_is_patching_all_edges_from_it(config, params, tokens, run, source):
    """For all readers after it; the node itself still writes its own output."""
    for writer in range(source.shape[2]):
        nodes, edges = no_nodes(config), no_edges(config)
        nodes[writer] = edges[writer] = 1
        by_node = run(params, config, tokens, NodePatch(jnp.asarray(nodes), source))
        by_edge = run(params, config, tokens, EdgePatch(jnp.asarray(edges), source))
        np.testing.assert_allclose(by_node[0], by_edge[0], atol=1e-5)
        others = np.arange(source.shape[2]) != writer
        np.testing.assert_allclose(by_node[1][:, :, others], by_edge[1][:, :, others], atol=1e-5)
        np.testing.assert_allclose(by_node[1][:, :, writer], source[:, :, writer], atol=1e-5)


def test_node_masks_agree_with_the_reference(variants, make_params, tokens, run, rng):
    """One share per writer; per row and writer; per row, position and writer."""
    config = variants["layer_norm"]
    params = make_params(config)
    source = run(params, config, tokens[::-1])[1]
    graph = Graph.of(config)
    named = numpy_reference.by_name(graph, source)
    for shape in [(graph.n_writers,), (3, graph.n_writers), (3, 5, graph.n_writers)]:
        mask = rng.uniform(size=shape).astype(np.float32)
        found = run(params, config, tokens, NodePatch(jnp.asarray(mask), source))
        per_row = mask[:, None] if mask.ndim == 2 else mask
        nodes = {name: per_row[..., w] for w, name in enumerate(graph.writers)}
        logits, written = numpy_reference.forward(params, config, tokens, nodes=nodes, source=named)
        close(found, (logits, numpy_reference.stacked(written)), atol=1e-4)


def test_a_mask_for_all_readers_alike(config, params, tokens, run, source, rng):
    """It gives the same as the mask repeated for every reader."""
    mask = jnp.asarray(rng.random((source.shape[2], 1)), jnp.float32)
    spelled_out = jnp.tile(mask, Graph.of(config).n_readers)
    close(
        run(params, config, tokens, EdgePatch(mask, source)),
        run(params, config, tokens, EdgePatch(spelled_out, source)),
    )


def test_mask_per_row_agrees_with_a_loop_over_rows(variants, make_params, tokens, run, rng):
    config = variants["layer_norm"]
    params = make_params(config)
    source = run(params, config, tokens[::-1])[1]
    masks = jnp.asarray(rng.integers(0, 2, (len(tokens), source.shape[2])), jnp.float32)
    together = run(params, config, tokens, NodePatch(masks, source))
    for row in range(len(tokens)):
        alone = run(params, config, tokens, NodePatch(masks[row], source))
        close((alone[0][row], alone[1][row]), (together[0][row], together[1][row]))


def test_causal_patch_at_a_position_leaves_earlier_ones(variants, make_params, tokens, run):
    """It changes this position: the mask's position axis is the sequence's."""
    config = variants["causal"]
    params = make_params(config)
    source = run(params, config, tokens)[1] + 1.0
    plain = run(params, config, tokens)[0]
    mask = jnp.zeros((*tokens.shape, source.shape[2])).at[1, 2, 0].set(1.0)
    patched = run(params, config, tokens, NodePatch(mask, source))[0]
    change = np.abs(patched - plain).max(-1)
    assert (change[1, 2:] > 1e-3).all()
    np.testing.assert_allclose(change[[0, 2]], 0, atol=1e-6)
    np.testing.assert_allclose(change[1, :2], 0, atol=1e-6)


@pytest.mark.parametrize("patch", [NodePatch, EdgePatch])
def test_vmap_over_masks_agrees_with_a_loop(variants, make_params, tokens, run, rng, patch):
    config = variants["layer_norm"]
    params = make_params(config)
    source = run(params, config, tokens[::-1])[1]
    shape = no_nodes(config).shape if patch is NodePatch else no_edges(config).shape
    masks = jnp.asarray(rng.uniform(size=(3, *shape)), jnp.float32)
    together = jax.jit(jax.vmap(lambda m: forward(params, config, tokens, patch(m, source))))(masks)
    for index, mask in enumerate(masks):
        alone = run(params, config, tokens, patch(mask, source))
        close((together[0][index], together[1][index]), alone)


@pytest.mark.slow
def test_jit_agrees_with_eager(variants, make_params, tokens, run, rng):
    """Also with NumPy weights, as loaded from a file."""
    config = dataclasses.replace(variants["layer_norm"], n_layers=1, d_head=1)
    params, tokens = make_params(config), tokens[:, :2]
    mask = jnp.asarray(rng.uniform(size=no_edges(config).shape), jnp.float32)
    source = jnp.ones((*tokens.shape, Graph.of(config).n_writers, config.d_model))
    loaded = jax.tree.map(np.asarray, params)
    eager = forward(loaded, config, tokens, EdgePatch(mask, source))
    close(eager, run(params, config, tokens, EdgePatch(mask, source)))


def test_second_patch_does_not_recompile(variants, make_params, tokens, other_tokens):
    config = dataclasses.replace(variants["causal"], n_layers=1)
    source = jnp.ones((*tokens.shape, Graph.of(config).n_writers, config.d_model))
    compiled: Any = jax.jit(lambda *args: forward(*args), static_argnums=1)
    for inputs, share in [(tokens, 0.0), (other_tokens, 1.0)]:
        mask = jnp.full(no_edges(config).shape, share)
        compiled(make_params(config), config, inputs, EdgePatch(mask, share * source))
    assert compiled._cache_size() == 1


def test_gradient_of_the_mask_agrees_with_differences(variants, make_params, tokens, run, rng):
    """Along a random direction, by the float64 reference; gradient methods depend on this."""
    config = dataclasses.replace(variants["layer_norm"], n_layers=1)
    params, graph = make_params(config), Graph.of(config)
    source = run(params, config, tokens[::-1])[1]
    direction = rng.standard_normal(graph.valid.shape) * graph.valid
    weights = rng.standard_normal((3, 5, 3))

    def loss(mask):
        return (forward(params, config, tokens, EdgePatch(mask, source))[0] * weights).sum()

    at = np.full(graph.valid.shape, 0.3)
    slope = (jax.jit(jax.grad(loss))(jnp.asarray(at, jnp.float32)) * direction).sum()

    def reference(mask):
        edges = {(graph.writers[w], graph.readers[r]): mask[w, r] for w, r in graph.edges}
        named = numpy_reference.by_name(graph, source)
        logits, _ = numpy_reference.forward(params, config, tokens, edges=edges, source=named)
        return (logits * weights).sum()

    step = 1e-4
    difference = (reference(at + step * direction) - reference(at - step * direction)) / (2 * step)
    assert abs(difference) > 1
    np.testing.assert_allclose(slope, difference, rtol=1e-4)


def test_a_source_of_fewer_rows_is_repeated(config, params, tokens, run, source, rng):
    mask = jnp.asarray(rng.random((2 * len(tokens), source.shape[2])), jnp.float32)
    twice = np.concatenate([tokens, tokens])
    patched = run(params, config, twice, NodePatch(mask, source))
    repeated = NodePatch(mask, jnp.concatenate([source, source]))
    close(patched, run(params, config, twice, repeated))
    close([patch_nodes(patched[1], NodePatch(mask, source))], [patch_nodes(patched[1], repeated)])


def test_a_nudge_along_one_edge_is_a_patch_of_it(config, params, tokens, run, source):
    """The writer's output is not changed, so the difference is known in advance."""
    graph = Graph.of(config)
    clean = run(params, config, tokens)
    for w, r in graph.edges[:: 3 if config.layer_norm else 5]:
        weights = jnp.asarray(no_edges(config)).at[w, r].set(0.75)
        nudged = run(params, config, tokens, nudge=Nudge(weights, source - clean[1]))
        close(nudged, run(params, config, tokens, EdgePatch(weights, source)))


def test_a_nudge_adds_to_a_patch(config, params, tokens, run, source, rng):
    """A nudge weighted by the patch's mask is a patch with another source."""
    mask = jnp.asarray(rng.uniform(size=no_edges(config).shape), jnp.float32)
    difference = jnp.asarray(rng.standard_normal(source.shape), jnp.float32)
    nudge = Nudge(mask, difference)
    close(
        run(params, config, tokens, EdgePatch(mask, source), nudge=nudge),
        run(params, config, tokens, EdgePatch(mask, source + difference)),
    )
    alike = EdgePatch(mask[:, :1], source)
    spelled_out = EdgePatch(jnp.tile(mask[:, :1], mask.shape[1]), source)
    close(
        run(params, config, tokens, alike, nudge=nudge),
        run(params, config, tokens, spelled_out, nudge=nudge),
    )


@pytest.mark.parametrize(
    ("weights", "difference", "message"),
    [
        ((7, 1), (3, 5, 7, 6), r"nudge weights has shape \(7, 1\), expected \(7, 15\)"),
        ((7, 15), (3, 5, 6, 6), r"nudge difference has shape .*expected \(3, 5, 7, 6\)"),
    ],
)
def test_nudge_that_does_not_fit(variants, make_params, tokens, weights, difference, message):
    config = variants["causal"]
    nudge = Nudge(jnp.zeros(weights), jnp.zeros(difference))
    with pytest.raises(ValueError, match=message):
        forward(make_params(config), config, tokens, nudge=nudge)


@pytest.mark.parametrize(
    ("patch", "mask", "source", "message"),
    [
        (NodePatch, (6,), (3, 5, 7, 6), r"mask has shape \(6,\).*\(7,\)"),
        (NodePatch, (2, 7), (3, 5, 7, 6), r"mask has shape \(2, 7\).*\(3, 7\)"),
        (NodePatch, (3, 4, 7), (3, 5, 7, 6), r"mask has shape \(3, 4, 7\).*\(3, 5, 7\)"),
        (NodePatch, (), (3, 5, 7, 6), r"mask has shape \(\)"),
        (NodePatch, (7,), (3, 4, 7, 6), r"source has shape \(3, 4, 7, 6\).*\(3, 5, 7, 6\)"),
        (NodePatch, (7,), (2, 5, 7, 6), r"source has shape \(2, 5, 7, 6\)"),
        (NodePatch, (7,), (6, 5, 7, 6), r"source has shape \(6, 5, 7, 6\)"),
        (EdgePatch, (7, 15), (1, 5, 7, 6), r"source has shape \(1, 5, 7, 6\)"),
        (EdgePatch, (15, 7), (3, 5, 7, 6), r"mask has shape \(15, 7\).*\(7, 15\)"),
        (EdgePatch, (3, 7, 15), (3, 5, 7, 6), r"mask has shape \(3, 7, 15\).*\(7, 15\)"),
        (EdgePatch, (7, 15), (3, 5, 6, 6), r"source has shape \(3, 5, 6, 6\)"),
    ],
)
def test_patch_that_does_not_fit(variants, make_params, tokens, patch, mask, source, message):
    config = variants["causal"]
    given = patch(jnp.zeros(mask), jnp.zeros(source))
    with pytest.raises(ValueError, match=message):
        forward(make_params(config), config, tokens, given)


def test_positions_that_do_not_fit(variants, make_params, tokens):
    config = variants["causal"]
    given = EdgePatch(jnp.zeros((7, 15)), jnp.zeros((3, 5, 7, 6)), jnp.zeros((1, 5)))
    with pytest.raises(ValueError, match=r"patched_at has shape \(1, 5\), expected \(3, 5\)"):
        forward(make_params(config), config, tokens, given)


def test_patch_of_unknown_kind(variants, make_params, tokens, no_shape_checks):
    config = variants["causal"]
    given = (jnp.zeros(7), jnp.zeros((3, 5, 7, 6)))
    with pytest.raises(ValueError, match="NodePatch, an EdgePatch or None.*tuple"):
        forward(make_params(config), config, tokens, given)  # type: ignore[arg-type]
