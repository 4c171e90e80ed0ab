"""Causal models as training problems; the README's example is run and trains a transformer."""

import dataclasses
import doctest
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

import interpbench_jax.siit
from interpbench_jax.compiler import compile_case
from interpbench_jax.model import TransformerConfig
from interpbench_jax.siit import align, causal_model, make_problem
from interpbench_jax.siit.causal_model import (
    CausalModel,
    interchange_targets,
    problem_from_causal_model,
)

README = (Path(interpbench_jax.siit.__file__).parent / "README.md").read_text()
SHAPE = TransformerConfig(
    n_layers=1, n_heads=2, d_model=4, d_head=2, d_mlp=4, n_ctx=3, d_vocab=10, d_vocab_out=2
)
Values = Mapping[str, Array]


def parity(tokens: Array, values: Values) -> Array:
    return (values["first"] + values["last"]) % 2


ODD = CausalModel(
    variables={
        "first": lambda tokens, values: tokens[0] % 2,
        "last": lambda tokens, values: tokens[-1] % 2,
        "parity": parity,
    },
    output=lambda tokens, values: values["parity"],
)
"""Is the sum of the first and the last token odd?"""
ALIGNMENT = {"first": "a0.h0", "last": "a0.h1", "parity": "m0"}


@pytest.fixture
def pairs() -> Array:
    return jax.random.randint(jax.random.key(0), (2, 20, 3), 0, 10)


def test_the_readme_example_trains_until_every_score_reaches_the_threshold(
    capsys: pytest.CaptureFixture,
) -> None:
    section = README.split("## Algorithms of one's own")[1]
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


def test_docstring_example() -> None:
    failed, attempted = doctest.testmod(causal_model)
    assert attempted and not failed


def test_targets_are_those_worked_out_by_hand() -> None:
    base, source = jnp.array([[2, 0, 5], [1, 0, 1]]), jnp.array([[3, 0, 5], [1, 0, 4]])
    targets = interchange_targets(ODD, base, source)
    assert targets.dtype == jnp.int32
    # Rows: nothing, first, last, parity, everything. 2 + 5 against 3 + 5, 1 + 1 against 1 + 4.
    assert targets[:, 0, 0].tolist() == [1, 0, 1, 0, 0]
    assert targets[:, 1, 0].tolist() == [0, 0, 1, 1, 1]
    np.testing.assert_array_equal(targets, np.broadcast_to(targets[:, :, :1], (5, 2, 3)))


def test_tokens_that_go_past_the_variables_come_from_the_base_but_in_the_last_row() -> None:
    middle = CausalModel(
        variables={"first": lambda tokens, values: tokens[0]},
        output=lambda tokens, values: values["first"] * 0.1 + tokens,
    )
    base, source = jnp.array([[1, 2, 3]]), jnp.array([[4, 5, 6]])
    targets = interchange_targets(middle, base, source)
    assert targets.dtype == jnp.float32
    expected = [[1.1, 2.1, 3.1], [1.4, 2.4, 3.4], [4.4, 5.4, 6.4]]
    np.testing.assert_allclose(targets[:, 0], expected, rtol=1e-6)


def test_sets_of_variables_are_interchanged_together(pairs: Array) -> None:
    base, source = pairs
    each = interchange_targets(ODD, base, source)
    alone = interchange_targets(ODD, base, source, sets=np.eye(3, dtype=bool))
    np.testing.assert_array_equal(alone, each[1:-1])
    sets = np.array([[0, 0, 0], [1, 1, 0], [1, 0, 1]], bool)
    none, both, later = interchange_targets(ODD, base, source, sets=sets)
    np.testing.assert_array_equal(none, each[0])
    np.testing.assert_array_equal(both, each[-1])
    np.testing.assert_array_equal(later, each[3])  # the parity overrides what it is made from


def test_jit_equals_eager_and_pairs_do_not_see_each_other(pairs: Array) -> None:
    jitted = jax.jit(interchange_targets, static_argnums=0)
    whole = interchange_targets(ODD, *pairs)
    np.testing.assert_array_equal(jitted(ODD, *pairs), whole)
    jitted(ODD, *pairs[::-1])
    assert jitted._cache_size() == 1  # type: ignore[attr-defined]
    np.testing.assert_array_equal(interchange_targets(ODD, *pairs[:, 3:4]), whole[:, 3:4])


def test_a_causal_model_of_a_rasp_case_gives_the_targets_of_the_compiled_one() -> None:
    """Case 3: the share of x among the tokens so far."""
    compiled = compile_case("3")
    alignment = align(compiled)
    problem = make_problem(compiled, alignment, jax.random.key(0), n_pairs=200)
    x = int(compiled.codec.encode([["x"]])[0, 1])

    def fraction(tokens: Array, values: Values) -> Array:
        count = jnp.cumsum(values["is_x"])  # the token at position 0 is BOS, and is no x
        return count / jnp.maximum(jnp.arange(len(tokens)), 1)

    shares = CausalModel(
        variables={"is_x": lambda tokens, values: 1.0 * (tokens == x), "share": fraction},
        output=lambda tokens, values: values["share"],
    )
    places = dict(zip(("is_x", "share"), alignment.nodes, strict=True))
    ours = problem_from_causal_model(
        shares, places, alignment.config, problem.base, problem.source, problem.positions
    )
    for name, theirs in problem._asdict().items():
        counted = slice(1 if "target" in name else 0, None)  # BOS says nothing
        np.testing.assert_allclose(
            getattr(ours, name)[..., counted], theirs[..., counted], atol=1e-5
        )


def test_the_problem_says_which_nodes_hold_what(pairs: Array) -> None:
    shape = TransformerConfig(
        n_layers=2, n_heads=2, d_model=4, d_head=2, d_mlp=4, n_ctx=3, d_vocab=10, d_vocab_out=2
    )
    places = {"parity": "m1", "first": "a0.h1"}  # in an order of their own, and one left out
    problem = problem_from_causal_model(ODD, places, shape, *pairs)
    targets = interchange_targets(ODD, *pairs)
    np.testing.assert_array_equal(problem.base_target, targets[0])
    np.testing.assert_array_equal(problem.source_target, targets[-1])
    np.testing.assert_array_equal(problem.variable_targets, targets[jnp.array([3, 1])])
    # input, a0.h0, a0.h1, m0, a1.h0, a1.h1, m1
    assert problem.variable_nodes.argmax(1).tolist() == [6, 2]
    assert problem.free_nodes.argmax(1).tolist() == [1, 3, 4, 5]
    assert (problem.positions == 1).all() and problem.positions.shape == (20, 3)
    last_only = jnp.array([0.0, 0.0, 1.0])
    last = problem_from_causal_model(ODD, places, shape, *pairs, positions=last_only)
    assert last.positions.sum(0).tolist() == [0, 0, 20]


@pytest.mark.parametrize(
    ("alignment", "message"),
    [
        ({"frist": "a0.h0"}, "no variable frist; there are first, last, parity"),
        ({"first": "a0.h7"}, "no head or MLP a0.h7; there are a0.h0, a0.h1, m0"),
        ({"first": "input"}, "no head or MLP input"),
        ({"first": "m0", "last": "m0"}, "a node holds one variable; m0 has several"),
        ({}, "no variable is aligned"),
    ],
)
def test_alignments_that_make_no_sense(
    alignment: dict[str, str], message: str, pairs: Array
) -> None:
    with pytest.raises(ValueError, match=message):
        problem_from_causal_model(ODD, alignment, SHAPE, *pairs)


def test_tokens_and_labels_that_the_transformer_does_not_have(pairs: Array) -> None:
    with pytest.raises(ValueError, match="source has token 10, expected one of the 10 from 0"):
        problem_from_causal_model(ODD, ALIGNMENT, SHAPE, pairs[0], pairs[0].at[0, 0].set(10))
    padded = dataclasses.replace(SHAPE, pad=9)
    with pytest.raises(ValueError, match="source has 3 tokens in row 1, expected padding after 4"):
        rows = jnp.array([[1, 2, 3, 9], [1, 2, 3, 4]]), jnp.array([[4, 4, 4, 9], [4, 4, 4, 9]])
        problem_from_causal_model(ODD, ALIGNMENT, padded, *rows)
    sevens = CausalModel(ODD.variables, lambda tokens, values: 7 * values["parity"])
    with pytest.raises(ValueError, match="the algorithm has label 7, expected one of the 2 from 0"):
        problem_from_causal_model(sevens, ALIGNMENT, SHAPE, *pairs)
    halves = CausalModel(ODD.variables, lambda tokens, values: values["parity"] / 2)
    with pytest.raises(ValueError, match="one output, d_vocab_out is 2"):
        problem_from_causal_model(halves, ALIGNMENT, SHAPE, *pairs)


def test_models_that_make_no_sense(pairs: Array, no_shape_checks: None) -> None:
    with pytest.raises(ValueError, match="at least one variable"):
        CausalModel({}, parity)
    short = CausalModel({"short": lambda tokens, values: tokens[:2]}, parity)
    with pytest.raises(ValueError, match=r"short has shape \(2,\)"):
        interchange_targets(short, *pairs)
    with pytest.raises(ValueError, match="sets of 2 variables, but the model has 3"):
        interchange_targets(ODD, *pairs, sets=np.ones((1, 2), bool))
    with pytest.raises(ValueError, match="base and source must have one shape"):
        interchange_targets(ODD, pairs[0], pairs[1][:3])


def test_variables_cannot_be_changed_from_outside() -> None:
    variables = {"first": lambda tokens, values: tokens[0]}
    model = CausalModel(variables, lambda tokens, values: values["first"])
    variables["second"] = variables["first"]
    assert list(model.variables) == ["first"]
