"""Compiled cases against Tracr's Haiku model, RASP's interpreter and the original's circuits."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from interpbench_jax.alignment import align
from interpbench_jax.cases import Case, case, get_case, sequences
from interpbench_jax.compiler import compile_case, haiku_to_params, params_to_haiku
from interpbench_jax.compiler.codec import compiled_labels
from interpbench_jax.compiler.tracr_stages import compile_with_tracr
from interpbench_jax.model import forward
from tests.golden_files import GOLDEN

REFERENCE = {
    entry["case"]: entry
    for entry in map(json.loads, (GOLDEN / "circuits.jsonl").read_text().splitlines())
}
# The original counts layers by MLPs and has variables at nodes that write nothing: these cases.
MISPLACED = {
    "81": {"aggregate_2": "a3.h0", "aggregate_3": "a3.h1", "sequence_map_1": "m3"},
    "88": {"last_elem_3": "a3.h0", "average_first_last_1": "m3"},
    "126": {"potential_median1_2": "a3.h0", "potential_median2_3": "a3.h1", "median_1": "m3"},
}

_run = jax.jit(forward, static_argnums=1)


def test_equals_the_haiku_model(each_case: Case, tracr, inputs, outputs) -> None:
    compiled, model = compile_case(each_case), tracr.assembled
    tokens = jnp.asarray(compiled.codec.encode_indices(inputs))
    haiku = jax.jit(model.forward)(model.params, tokens)
    logits, writers = outputs

    def close(ours, theirs, scale=1.0) -> None:
        assert np.abs(ours - np.asarray(theirs)).max() < 1e-5 * max(1, scale)

    residual, graph = np.array(writers[:, :, 0]), compiled.graph
    close(residual, haiku.transformer_output.input_embeddings)
    for layer in range(graph.n_layers):
        weights = compiled.params[f"blocks_{layer}"]["attn"]
        query, key = (residual[:, None] @ weights[name] for name in ("W_Q", "W_K"))
        scores = query @ key.swapaxes(2, 3) / np.sqrt(compiled.config.d_head)
        expected = haiku.transformer_output.attn_logits[layer]
        masked = np.asarray(expected) < -1e29
        scores = np.where(masked, expected, scores)
        close(scores, expected, scale=np.abs(scores[~masked]).max())  # sums of terms of 100
        attention = residual + writers[:, :, graph.attention_writers(layer)].sum(2)
        residual = attention + np.asarray(writers[:, :, graph.mlp_writer(layer)])
        for half, ours in enumerate((attention, residual)):
            close(ours, haiku.transformer_output.residuals[2 * layer + half], scale=layer + 1)
    if not compiled.categorical:
        close(logits[..., 0], haiku.unembedded_output)
        return
    # If the program is undefined, Haiku's outputs are rounding errors, and so is their argmax.
    defined = np.abs(logits).max(-1) > 0.1
    assert defined.any()
    assert (np.argmax(logits, -1) == haiku.unembedded_output)[defined].all()


def test_haiku_weights_come_back_bit_by_bit(each_case: Case, tracr) -> None:
    params, _ = haiku_to_params(tracr)
    back, theirs = params_to_haiku(params, tracr), tracr.assembled.params
    assert {module: set(weights) for module, weights in back.items()} == {
        module: set(weights) for module, weights in theirs.items()
    }
    for module, weights in theirs.items():
        for name, weight in weights.items():
            assert back[module][name].dtype == weight.dtype
            np.testing.assert_array_equal(back[module][name], weight)


def test_the_argmax_of_deciding_weights_is_the_label(each_case: Case, outputs) -> None:
    compiled, (logits, _) = compile_case(each_case), outputs
    if compiled.categorical:
        bias = compiled.deciding_params["unembed"]["b_U"] - compiled.params["unembed"]["b_U"]
        labels = compiled_labels(jnp.asarray(logits))[:, 1:]  # the output at BOS does not count
        np.testing.assert_array_equal((logits + bias).argmax(-1)[:, 1:], labels)
    else:
        assert compiled.deciding_params is compiled.params


@pytest.mark.parametrize("name", ["7", "13", "29", "92"])
def test_padding_does_not_change_outputs(name: str) -> None:
    """In Tracr's Haiku model it does: heads that select positions attend to padding."""
    compiled = compile_case(name)
    drawn = sequences(compiled.case, 500, jax.random.key(1))
    tokens = jnp.asarray(compiled.codec.encode_indices(drawn))
    alone, _ = _run(compiled.params, compiled.config, tokens[:, :4])
    padded = tokens.at[:, 4:].set(compiled.codec.pad)
    logits, _ = _run(compiled.params, compiled.config, padded)
    np.testing.assert_allclose(logits[:, :4], alone, atol=1e-5)


def test_a_variable_is_named_after_its_values() -> None:
    named = {variable.node: variable.name for variable in compile_case("4").variables}
    assert (named["m0"], named["m1"]) == ("bools_close+bools_open", "pair_balance")


def test_sizes_variables_and_free_nodes_are_those_of_the_original(each_case: Case) -> None:
    reference, compiled = REFERENCE[each_case.name], compile_case(each_case)
    alignment = align(compiled)
    for field, size in reference["model"].items():
        config = alignment.network
        ours = config.init_std if field == "initializer_range" else getattr(config, field)
        assert ours == pytest.approx(size), field
    for field, size in reference["tracr"].items():
        assert getattr(compiled.config, field) == size, field
    right = MISPLACED.get(each_case.name, {})
    placed = {
        (label, node)
        for variable, node in zip(compiled.variables, alignment.nodes, strict=True)
        for label in variable.labels
    }
    expected = {
        (v["variable"], right.get(v["variable"], node))
        for v in reference["variables"]
        for node in v["model_nodes"]
    }
    assert placed == expected
    if not right:
        assert len(alignment.free_nodes) == reference["n_nodes_out_of_circuit"]


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
        ([], "no sequences"),
    ],
)
def test_bad_input_is_named(sequence: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compile_case("3").encode(sequence)


def test_unknown_case() -> None:
    with pytest.raises(ValueError, match="unknown case '16'; known: 1, 2, 3"):
        compile_case("16")


def test_a_case_is_registered_once() -> None:
    with pytest.raises(ValueError, match="case '3' is already defined"):
        case("3", vocab="ab")(lambda: get_case("3").program())
