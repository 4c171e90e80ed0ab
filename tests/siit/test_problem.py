"""Pairs and targets made from a compiled case."""

import jax
import numpy as np

from interpbench_jax.alignment import align
from interpbench_jax.compiler import compile_case
from interpbench_jax.siit import make_problem
from interpbench_jax.tasks import Part


def test_pairs_of_a_small_case_are_all_pairs_once() -> None:
    compiled = compile_case("3")
    problem = make_problem(compiled, align(compiled), jax.random.key(0))
    assert problem.n_pairs == 256**2
    pairs = np.concatenate([problem.base, problem.source], 1)
    assert len(np.unique(pairs, axis=0)) == 256**2
    assert (pairs[:, 0] == compiled.codec.bos).all()


def test_targets_are_the_programs_outputs_under_interchange() -> None:
    """Case 3: the fraction of x so far; its variables are `is_x` and the fraction itself."""
    compiled = compile_case("3")
    problem = make_problem(compiled, align(compiled), jax.random.key(0), n_pairs=3_000)
    x = compiled.codec.token_ids[compiled.case.vocab.index("x")]
    counts = np.arange(1, 5)

    def fraction(tokens: np.ndarray) -> np.ndarray:
        return (tokens[:, 1:] == x).cumsum(1) / counts[None]

    base, source = np.asarray(problem.base), np.asarray(problem.source)
    np.testing.assert_allclose(problem.base_target[:, 1:], fraction(base), atol=1e-5)
    np.testing.assert_allclose(problem.source_target[:, 1:], fraction(source), atol=1e-5)
    for variable in (0, 1):  # each alone determines the output
        np.testing.assert_allclose(
            problem.variable_targets[variable][:, 1:], fraction(source), atol=1e-5
        )


def test_parts_share_no_sequence() -> None:
    compiled = compile_case("3")
    alignment, key = align(compiled), jax.random.key(0)
    parts: tuple[Part, ...] = ("train", "validation", "test")
    found = [
        {tuple(row) for side in (problem.base, problem.source) for row in np.asarray(side).tolist()}
        for problem in (make_problem(compiled, alignment, key, part=part) for part in parts)
    ]
    assert [len(sequences) for sequences in found] == [201, 25, 30]
    assert len(set.union(*found)) == 256


def test_the_label_of_an_undefined_output_is_zero() -> None:
    """Case 13 compares with the next token, which the last position does not have."""
    compiled = compile_case("13")
    problem = make_problem(compiled, align(compiled), jax.random.key(0), n_pairs=500)
    assert (problem.base_target[:, -1] == 0).all()
    assert (problem.base_target[:, 1:-1] != 0).any()


def test_shorter_sequences_are_padded_and_padding_does_not_count() -> None:
    compiled = compile_case("3", min_length=2)
    alignment = align(compiled)
    assert alignment.network.pad == compiled.codec.pad
    problem = make_problem(compiled, alignment, jax.random.key(0))
    assert problem.n_pairs == 16**2 + 64**2 + 256**2
    padded = np.asarray(problem.base) == compiled.codec.pad
    assert (padded == (np.asarray(problem.source) == compiled.codec.pad)).all()
    assert set(padded.sum(1).tolist()) == {0, 1, 2}
    counted = ~padded
    counted[:, 0] = False
    assert (np.asarray(problem.position_weights) == counted).all()
    x = compiled.codec.token_ids[compiled.case.vocab.index("x")]

    expected = np.cumsum(np.asarray(problem.base)[:, 1:] == x, 1) / np.arange(1, 5)[None]
    expected = np.where(counted[:, 1:], expected, 0)
    np.testing.assert_allclose(problem.base_target[:, 1:], expected, atol=1e-5)
