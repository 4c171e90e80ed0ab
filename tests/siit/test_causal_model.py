"""Causal models as training problems; runs the README's example, which trains a transformer."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

import interpbench_jax.siit
from interpbench_jax.alignment import align
from interpbench_jax.compiler import compile_case
from interpbench_jax.model import TransformerConfig
from interpbench_jax.siit import make_problem, problem_from_causal_model
from interpbench_jax.tasks import CausalModel

README = (Path(interpbench_jax.siit.__file__).parent / "README.md").read_text()
SHAPE = TransformerConfig(
    n_layers=1, n_heads=2, d_model=4, d_head=2, d_mlp=4, n_ctx=3, d_vocab=10, d_vocab_out=2
)
ODD = CausalModel(
    variables={
        "first": lambda tokens: tokens[0] % 2,
        "last": lambda tokens: tokens[-1] % 2,
        "parity": lambda first, last: (first + last) % 2,
    },
    output=lambda parity: parity,
)
"""Is the sum of the first and the last token odd?"""
ALIGNMENT = {"first": "a0.h0", "last": "a0.h1", "parity": "m0"}


@pytest.fixture
def pairs() -> Array:
    return jax.random.randint(jax.random.key(0), (2, 20, 3), 0, 10)


def test_the_readme_example_trains_until_every_score_reaches_the_threshold(
    capsys: pytest.CaptureFixture,
) -> None:
    section = README.split("## Your own algorithm")[1]
    match = re.search(r"```python\n(.*?)```\n\nprints\n\n```\n(.*?)```", section, re.DOTALL)
    assert match
    names: dict[str, Any] = {}
    exec(match[1], names)
    assert capsys.readouterr().out == match[2]
    result, config = names["result"], names["config"]
    assert result.rounds[0] < config.n_rounds
    assert result.scores.accuracy.min() >= config.threshold
    assert result.scores.iia.shape == (1, 3) and result.scores.iia.min() >= config.threshold
    assert result.scores.siia.shape == (1, 2) and result.scores.siia.min() >= config.threshold


def test_a_causal_model_of_a_rasp_case_gives_the_targets_of_the_compiled_one() -> None:
    """Case 3: the share of x among the tokens so far."""
    compiled = compile_case("3")
    alignment = align(compiled)
    problem = make_problem(compiled, alignment, jax.random.key(0), n_pairs=200)
    x = int(compiled.codec.encode([["x"]])[0, 1])

    def fraction(tokens: Array, is_x: Array) -> Array:
        count = jnp.cumsum(is_x)  # the token at position 0 is BOS, not x
        return count / jnp.maximum(jnp.arange(len(tokens)), 1)

    shares = CausalModel(
        variables={"is_x": lambda tokens: 1.0 * (tokens == x), "share": fraction},
        output=lambda share: share,
    )
    places = dict(zip(("is_x", "share"), alignment.nodes, strict=True))
    ours = problem_from_causal_model(
        shares, places, alignment.network, problem.base, problem.source, problem.position_weights
    )
    optional = {"behaviour", "edges", "checks"}
    assert all(getattr(given, name) is None for given in (ours, problem) for name in optional)
    for name in set(problem._fields) - optional:
        counted = slice(1 if "target" in name else 0, None)  # the output at BOS does not count
        np.testing.assert_allclose(
            getattr(ours, name)[..., counted], getattr(problem, name)[..., counted], atol=1e-5
        )


def test_the_problem_says_which_nodes_hold_what(pairs: Array) -> None:
    shape = TransformerConfig(
        n_layers=2, n_heads=2, d_model=4, d_head=2, d_mlp=4, n_ctx=3, d_vocab=10, d_vocab_out=2
    )
    places = {"parity": "m1", "first": "a0.h1"}  # `last` is left out
    problem = problem_from_causal_model(ODD, places, shape, *pairs)
    base, source = np.asarray(pairs) % 2
    np.testing.assert_array_equal(problem.base_target[:, 0], (base[:, 0] + base[:, -1]) % 2)
    np.testing.assert_array_equal(problem.source_target[:, 0], (source[:, 0] + source[:, -1]) % 2)
    first = (source[:, 0] + base[:, -1]) % 2
    expected = [first, problem.source_target[:, 0]]
    np.testing.assert_array_equal(problem.variable_targets[:, :, 0], expected)
    # input, a0.h0, a0.h1, m0, a1.h0, a1.h1, m1
    assert problem.variable_nodes.argmax(1).tolist() == [2, 6]
    assert problem.free_nodes.argmax(1).tolist() == [1, 3, 4, 5]
    assert (problem.position_weights == 1).all() and problem.position_weights.shape == (20, 3)
    last_only = jnp.array([0.0, 0.0, 1.0])
    last = problem_from_causal_model(
        ODD, places, shape, pairs[0], pairs[1], position_weights=last_only
    )
    assert last.position_weights.sum(0).tolist() == [0, 0, 20]


@pytest.mark.parametrize(
    ("alignment", "message"),
    [
        ({"frist": "a0.h0"}, "no variable frist; there are first, last, parity"),
        ({"first": "a0.h7"}, "no writer 'a0.h7' in this model; it has input, a0.h0, a0.h1, m0"),
        ({"parity": "a0.h0", "first": "m0"}, "would be m0->a0.h0<q>, but a0.h0<q> reads before"),
        ({"first": "m0", "last": "m0"}, "a node holds one variable; m0 has several"),
        ({}, "no variable is aligned"),
    ],
)
def test_invalid_alignments(alignment: dict[str, str], message: str, pairs: Array) -> None:
    with pytest.raises(ValueError, match=message):
        problem_from_causal_model(ODD, alignment, SHAPE, *pairs)


def test_tokens_and_labels_that_the_transformer_does_not_have(pairs: Array) -> None:
    with pytest.raises(ValueError, match="source has token 10, expected one of the 10 from 0"):
        problem_from_causal_model(ODD, ALIGNMENT, SHAPE, pairs[0], pairs[0].at[0, 0].set(10))
    padded = dataclasses.replace(SHAPE, pad=9)
    with pytest.raises(ValueError, match="source has 3 tokens in row 1, expected padding after 4"):
        rows = jnp.array([[1, 2, 3, 9], [1, 2, 3, 4]]), jnp.array([[4, 4, 4, 9], [4, 4, 4, 9]])
        problem_from_causal_model(ODD, ALIGNMENT, padded, *rows)
    sevens = CausalModel(ODD.variables, lambda parity: 7 * parity)
    with pytest.raises(ValueError, match="the algorithm has label 7, expected one of the 2 from 0"):
        problem_from_causal_model(sevens, ALIGNMENT, SHAPE, *pairs)
    halves = CausalModel(ODD.variables, lambda parity: parity / 2)
    with pytest.raises(ValueError, match="one output, d_vocab_out is 2"):
        problem_from_causal_model(halves, ALIGNMENT, SHAPE, *pairs)
