"""Compiled cases against Tracr's Haiku model, RASP's interpreter and the original's circuits."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from interpbench_jax.cases import Case, case, get_case, sequences
from interpbench_jax.compiler import compile_case
from interpbench_jax.compiler.tracr_stages import compile_with_tracr
from interpbench_jax.model import forward
from interpbench_jax.siit import align
from tests.golden_files import GOLDEN

SLICE = ("3", "4", "7", "13", "21", "38")
# Edges that the original's circuits lack: the MLP reads tokens straight from the embedding.
MISSING_IN_ORIGINAL = {"13": {("input", "m0")}, "38": {("input", "m0")}}

_run = jax.jit(forward, static_argnums=1)


@functools.cache
def inputs(name: str) -> np.ndarray:
    """Every input where there are at most 10,000, else 1,000 drawn ones; vocabulary indices."""
    found = sequences(get_case(name), 10_000, jax.random.key(1))
    return found if len(found) < 10_000 else found[:1_000]


@pytest.mark.parametrize("name", SLICE)
def test_equals_the_haiku_model(name: str) -> None:
    compiled = compile_case(name)
    tracr = compile_with_tracr(get_case(name)).assembled
    tokens = jnp.asarray(compiled.codec.encode_indices(inputs(name)))
    haiku = jax.jit(tracr.forward)(tracr.params, tokens)
    logits, writers = _run(compiled.params, compiled.config, tokens)

    residual = writers[:, :, 0]
    np.testing.assert_allclose(residual, haiku.transformer_output.input_embeddings, atol=1e-5)
    graph = compiled.graph
    for layer in range(graph.n_layers):
        weights = compiled.params[f"blocks_{layer}"]["attn"]
        query = jnp.einsum("bpd,hde->bhpe", residual, weights["W_Q"])
        key = jnp.einsum("bpd,hde->bhpe", residual, weights["W_K"])
        scores = jnp.einsum("bhpe,bhke->bhpk", query, key) / np.sqrt(compiled.config.d_head)
        expected = haiku.transformer_output.attn_logits[layer]
        seen = expected > -1e29  # masked
        np.testing.assert_allclose(
            jnp.where(seen, scores, 0), jnp.where(seen, expected, 0), atol=1e-5, rtol=1e-5
        )
        for half, heads_or_mlp in enumerate(
            (
                graph.attention_writers(layer),
                slice(graph.mlp_writer(layer), graph.mlp_writer(layer) + 1),
            )
        ):
            residual += writers[:, :, heads_or_mlp].sum(2)
            expected = haiku.transformer_output.residuals[2 * layer + half]
            np.testing.assert_allclose(residual, expected, atol=1e-5)
    if not compiled.categorical:
        np.testing.assert_allclose(logits[..., 0], haiku.unembedded_output, atol=1e-5)
        return
    # Haiku's argmax is taken of rounding errors where the program is undefined.
    defined = jnp.abs(logits).max(-1) > 0.1
    assert (logits.argmax(-1) == haiku.unembedded_output)[defined].all()


@pytest.mark.parametrize("name", SLICE)
def test_computes_what_the_rasp_interpreter_says(name: str) -> None:
    compiled = compile_case(name)
    program, vocab = compiled.case.program(), compiled.case.vocab
    drawn = inputs(name)[:300]
    words = [[vocab[i] for i in row] for row in drawn]
    logits, _ = _run(compiled.params, compiled.config, compiled.encode(words))
    for row, said in zip(words, compiled.decode(logits), strict=True):
        for ours, expected in zip(said, program(row), strict=True):
            if expected is not None:
                assert ours == (
                    expected if compiled.categorical else pytest.approx(float(expected), abs=1e-3)
                )


@pytest.mark.parametrize("name", SLICE)
def test_sizes_variables_and_circuit_are_those_of_the_original(name: str) -> None:
    reference = next(
        entry
        for entry in map(json.loads, (GOLDEN / "circuits.jsonl").read_text().splitlines())
        if entry["case"] == name
    )
    alignment = align(compile_case(name))
    config = alignment.config
    for field, size in reference["model"].items():
        ours = config.init_std if field == "initializer_range" else getattr(config, field)
        assert ours == pytest.approx(size), field
    placed = {
        (label, variable.node, node)
        for variable, node in zip(compile_case(name).variables, alignment.nodes, strict=True)
        for label in variable.values
    }
    expected = {
        (v["variable"], v["tracr_node"], node)
        for v in reference["variables"]
        for node in v["model_nodes"]
    }
    assert placed == expected
    assert len(alignment.free_nodes) == reference["n_nodes_out_of_circuit"]
    edges = {tuple(edge) for edge in reference["circuit_edges"]}
    assert alignment.circuit.head_edges == edges | MISSING_IN_ORIGINAL.get(name, set())


@pytest.mark.parametrize("name", MISSING_IN_ORIGINAL)
def test_the_edge_missing_in_the_original_changes_outputs(name: str) -> None:
    """Only it is patched, in the compiled model, and some output is another one."""
    from interpbench_jax.model import EdgePatch

    compiled = compile_case(name)
    graph = compiled.graph
    tokens = jnp.asarray(compiled.codec.encode_indices(inputs(name)))
    _, source = _run(compiled.params, compiled.config, tokens[::-1])
    plain, _ = _run(compiled.params, compiled.config, tokens)
    for writer, reader in MISSING_IN_ORIGINAL[name]:
        mask = jnp.zeros(graph.valid.shape)
        mask = mask.at[graph.writer_index(writer), graph.reader_index(reader)].set(1)
        patched, _ = _run(compiled.params, compiled.config, tokens, EdgePatch(mask, source))
        assert (patched.argmax(-1) != plain.argmax(-1))[:, 1:].any()


def test_the_same_program_gives_the_same_weights_again() -> None:
    first, again = (compile_with_tracr(get_case("7")) for _ in range(2))
    assert first.assembled.residual_labels == again.assembled.residual_labels
    assert "hist_1:0" in first.assembled.residual_labels


@pytest.mark.parametrize(
    ("sequence", "message"),
    [
        ([["a", "q"]], "'q' is not in the vocabulary of case 3"),
        ([["a"] * 5], "5 tokens; case 3 takes 1 to 4"),
        ([[]], "0 tokens"),
        ([["a"], ["a", "b"]], "one length, got 1 and 2"),
        ([], "no sequences"),
    ],
)
def test_bad_input_is_named(sequence: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compile_case("3").encode(sequence)


def test_unknown_case() -> None:
    with pytest.raises(ValueError, match="unknown case '16'; known: 1, 2, 3"):
        compile_case("16")


def test_a_program_that_tracr_cannot_compile_names_the_expression() -> None:
    from tracr.rasp import rasp

    def program() -> rasp.SOp:
        everywhere = rasp.Select(rasp.tokens, rasp.tokens, rasp.Comparison.TRUE)
        return rasp.Aggregate(everywhere, rasp.tokens, default="a").named("copied")

    broken = Case(name="broken", title="", program=program, vocab=("a", "b"))
    with pytest.raises(ValueError, match="case 'broken' cannot be compiled: .*[Dd]efault"):
        compile_case(broken)


def test_a_case_is_registered_once() -> None:
    with pytest.raises(ValueError, match="case '3' is already defined"):
        case("3", vocab="ab")(get_case("3").program)
