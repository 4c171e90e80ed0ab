"""Outputs of the algorithm: both ways to compute them agree, at every length."""

import jax
import numpy as np
import pytest

from interpbench_jax.cases import PADDING, get_case, sample_pairs
from interpbench_jax.compiler import algorithm_outputs, compile_case
from tests.compiler.interchanges import algorithm_interchanges


@pytest.mark.parametrize("min_length", [None, 1])
@pytest.mark.parametrize("name", ["3", "13"])
def test_the_compiled_model_and_the_tables_agree(name: str, min_length) -> None:
    compiled = compile_case(name)
    pairs = sample_pairs(compiled.case, 500, jax.random.key(0), min_length=min_length)
    interchanged = np.asarray(algorithm_interchanges(compiled, *pairs))
    assert (interchanged[:, :, 0] == 0).all()
    assert (interchanged[:, :, 1:][:, pairs[0] == PADDING] == 0).all()
    np.testing.assert_array_equal(algorithm_outputs(compiled, pairs[0]), interchanged[0])
    np.testing.assert_array_equal(algorithm_outputs(compiled, pairs[1]), interchanged[-1])
    assert (interchanged[1:] != interchanged[:1]).mean() > 0.1

    tables = algorithm_interchanges(compiled, *pairs, tabulated=True)
    np.testing.assert_allclose(tables, interchanged, atol=1e-5)
    plain = algorithm_outputs(compiled, pairs[0], tabulated=True)
    np.testing.assert_allclose(plain, interchanged[0], atol=1e-5)


def test_shorter_sequences_have_their_own_outputs() -> None:
    compiled = compile_case("13")
    rows = np.full((3, 9), PADDING)
    rows[:, :4] = [[0, 1, 2, 0], [3, 3, 1, 0], [2, 0, 0, 1]]
    alone = algorithm_outputs(compiled, rows[:, :4])
    np.testing.assert_array_equal(algorithm_outputs(compiled, rows)[:, :5], alone)
    program = get_case("13").program()
    expected = program([compiled.case.vocab[token] for token in rows[0, :4]])
    outputs = compiled.codec.outputs or ()
    labels = [outputs[label] for label in np.asarray(alone)[0, 1:]]
    assert labels[:-1] == expected[:-1]  # the last position has no next token


def test_encoding_pads_to_the_longest() -> None:
    codec = compile_case("3").codec
    a, b = (codec.token_ids[codec.case.vocab.index(token)] for token in "ab")
    encoded = codec.encode([["a"], ["a", "b", "b"]])
    assert encoded.tolist() == [[codec.bos, a, codec.pad, codec.pad], [codec.bos, a, b, b]]
