"""Causal models with patched edges, compared with values computed by hand."""

import doctest
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

from interpbench_jax.tasks.causal import CausalModel, causal_model

ODD = CausalModel(
    variables={
        "first": lambda tokens: tokens[0] % 2,
        "last": lambda tokens: tokens[-1] % 2,
        "parity": lambda first, last: (first + last) % 2,
    },
    output=lambda parity: parity,
)
"""Is the sum of the first and the last token odd?"""


def mask(model: CausalModel, *edges: str, number: int = 1) -> np.ndarray:
    """A mask of edges by name; `first->` stands for all edges from a writer."""
    graph = model.graph
    found = np.zeros(graph.valid.shape, int)
    for edge in edges:
        writer, reader = edge.split("->")
        row = found[graph.writer_index(writer)]
        row[graph.reader_index(reader) if reader else slice(None)] = number
    return found


def answer(
    model: CausalModel, base: Sequence[int], source: Sequence[int], *edges: str
) -> list[float]:
    masks = mask(model, *edges)[None]
    return model.answers(jnp.array([base]), jnp.array([source]), masks)[0, 0].tolist()


@pytest.fixture
def pairs() -> tuple[Array, Array]:
    base, source = jax.random.randint(jax.random.key(0), (2, 20, 3), 0, 10)
    return base, source


def test_docstring_example() -> None:
    failed, attempted = doctest.testmod(causal_model)
    assert attempted and not failed


def test_the_graph_follows_from_the_names_of_parameters() -> None:
    assert ODD.graph.writers == ("input", "first", "last", "parity")
    assert ODD.graph.readers == ("first", "last", "parity", "output")
    assert ODD.graph.n_before == (1, 2, 3, 4)
    assert ODD.circuit.edges == {
        *(("input", "first"), ("input", "last")),
        *(("first", "parity"), ("last", "parity"), ("parity", "output")),
    }


def test_answers_are_those_computed_by_hand() -> None:
    base, source = [2, 0, 5], [3, 0, 5]  # 2 + 5 is odd, 3 + 5 is even
    assert answer(ODD, base, source) == [1, 1, 1]
    assert answer(ODD, base, source, "first->") == [0, 0, 0]
    assert answer(ODD, base, source, "input->first") == [0, 0, 0]
    assert answer(ODD, base, source, "input->last") == [1, 1, 1]
    assert answer(ODD, base, source, "parity->") == [0, 0, 0]
    assert answer(ODD, base, source, "input->first", "parity->output") == [0, 0, 0]
    assert answer(ODD, base, source, "first->output", "input->output") == [
        1,
        1,
        1,
    ]  # no reader uses it


def test_an_edge_patch_affects_only_its_reader() -> None:
    """Both readers read x; each alone can read the source's x."""
    model = CausalModel(
        variables={
            "x": lambda tokens: tokens,
            "double": lambda x: 2 * x,
            "square": lambda x: x**2,
        },
        output=lambda double, square: 100 * double + square,
    )
    assert answer(model, [3], [5]) == [609]
    assert answer(model, [3], [5], "x->double") == [1009]
    assert answer(model, [3], [5], "x->square") == [625]
    assert answer(model, [3], [5], "x->") == [1025]
    assert answer(model, [3], [5], "double->output") == [1009]
    assert answer(model, [3], [5], "x->square", "double->output") == [1025]


def test_effects_of_a_patch_propagate_except_through_patched_edges() -> None:
    model = CausalModel(
        variables={"x": lambda tokens: tokens, "y": lambda x: x + 1, "z": lambda y: 10 * y},
        output=lambda z: z,
    )
    assert answer(model, [1], [5], "x->y") == [60]
    # z reads y of the source, whatever y is on the base.
    assert answer(model, [1], [5], "x->y", "y->z") == [60]
    assert answer(model, [1], [5], "y->z") == [60]


def test_two_sources() -> None:
    model = CausalModel(
        variables={"x": lambda tokens: tokens[0], "y": lambda tokens: tokens[1]},
        output=lambda x, y: 10 * x + y,
    )
    masks = np.stack(
        [
            mask(model, "x->output", number=first) + mask(model, "y->output", number=second)
            for first in range(3)
            for second in range(3)
        ]
    )
    base, sources = jnp.array([[1, 2]]), jnp.array([[[3, 4]], [[5, 6]]])
    found = model.answers(base, sources, masks)[:, 0, 0].tolist()
    assert found == [12, 14, 16, 32, 34, 36, 52, 54, 56]


def test_parameters_can_name_the_input_of_a_head() -> None:
    def earlier(tokens_q: Array, tokens_k: Array) -> Array:
        """Whether the last token occurred before."""
        return (tokens_q[-1] == tokens_k[:-1]).any()

    model = CausalModel({"earlier": earlier}, lambda earlier: earlier)
    assert model.graph.readers == ("earlier<q>", "earlier<k>", "output")
    assert model.graph.head_readers == ("earlier", "output")
    assert answer(model, [1, 2, 1], [3, 4, 5]) == [1, 1, 1]
    assert answer(model, [1, 2, 1], [3, 4, 5], "input->earlier<q>") == [0, 0, 0]
    assert answer(model, [3, 2, 1], [0, 0, 3], "input->earlier<q>") == [1, 1, 1]
    assert answer(model, [3, 2, 1], [1, 0, 3], "input->earlier<k>") == [1, 1, 1]


def test_all_edges_at_once_are_the_source(pairs: tuple[Array, Array]) -> None:
    everything = np.ones((1, *ODD.graph.valid.shape), int)
    nothing = np.zeros_like(everything)
    base, source = pairs
    found = ODD.answers(base, source, everything)
    np.testing.assert_array_equal(found, ODD.answers(source, base, nothing))


def test_variables_left_out_are_computed_by_their_readers(pairs: tuple[Array, Array]) -> None:
    fewer = ODD.keeping(["first", "parity"])
    assert fewer.graph.writers == ("input", "first", "parity")
    assert fewer.circuit.edges == {
        *(("input", "first"), ("input", "parity")),
        *(("first", "parity"), ("parity", "output")),
    }
    for edges in ((), ("first->",), ("input->first",), ("parity->",)):
        whole = ODD.answers(*pairs, mask(ODD, *edges)[None])
        np.testing.assert_array_equal(fewer.answers(*pairs, mask(fewer, *edges)[None]), whole)
    # The parity now reads the last token from the input.
    through = ODD.answers(*pairs, mask(ODD, "input->last")[None])
    found = fewer.answers(*pairs, mask(fewer, "input->parity")[None])
    np.testing.assert_array_equal(found, through)
    output_only = ODD.keeping(["parity"])
    assert output_only.circuit.edges == {("input", "parity"), ("parity", "output")}


def test_inputs_of_heads_stay_separate_if_variables_are_left_out() -> None:
    model = CausalModel(
        variables={
            "next": lambda tokens: tokens + 1,
            "found": lambda next_q, tokens_k: next_q - tokens_k,
        },
        output=lambda found: found,
    )
    fewer = model.keeping(["found"])
    assert fewer.graph.readers == ("found<q>", "found<k>", "output")
    assert answer(fewer, [1], [5], "input->found<q>") == [5]
    assert answer(fewer, [1], [5], "input->found<k>") == [-3]


def test_jit_equals_eager_and_pairs_are_independent(pairs: tuple[Array, Array]) -> None:
    masks = np.random.default_rng(0).integers(0, 2, (5, *ODD.graph.valid.shape))
    jitted = jax.jit(ODD.answers)
    whole = ODD.answers(*pairs, masks)
    np.testing.assert_array_equal(jitted(*pairs, masks), whole)
    jitted(*pairs[::-1], masks)
    assert jitted._cache_size() == 1  # type: ignore[attr-defined]
    np.testing.assert_array_equal(ODD.answers(pairs[0][3:4], pairs[1][3:4], masks), whole[:, 3:4])


def test_booleans_are_labels_and_floats_are_values(pairs: tuple[Array, Array]) -> None:
    nothing = np.zeros((1, *ODD.graph.valid.shape), int)
    is_odd = CausalModel(ODD.variables, lambda parity: parity == 1)
    share = CausalModel(ODD.variables, lambda parity: parity / 2)
    assert is_odd.answers(*pairs, nothing).dtype == jnp.int32
    assert share.answers(*pairs, nothing).dtype == jnp.float32


def test_invalid_models(pairs: tuple[Array, Array], no_shape_checks: None) -> None:
    with pytest.raises(ValueError, match="at least one variable"):
        CausalModel({}, lambda tokens: tokens)
    with pytest.raises(ValueError, match="cannot be named 'input'"):
        CausalModel({"input": lambda tokens: tokens}, lambda tokens: tokens)
    with pytest.raises(ValueError, match="second reads 'third'; it can read tokens, first, and"):
        CausalModel({"first": lambda tokens: tokens, "second": lambda third: third}, jnp.zeros)
    short = CausalModel({"short": lambda tokens: tokens[:2]}, lambda short: short)
    nothing = np.zeros((1, *short.graph.valid.shape), int)
    with pytest.raises(ValueError, match=r"short has shape \(2,\)"):
        short.answers(*pairs, nothing)
    with pytest.raises(ValueError, match="expected that of base"):
        ODD.answers(pairs[0], pairs[1][:3], nothing)
    with pytest.raises(ValueError, match="with 4 writers and 4 readers"):
        ODD.answers(*pairs, nothing)
    with pytest.raises(ValueError, match="no variable third; there are first, last, parity"):
        ODD.keeping(["third"])


def test_variables_cannot_be_changed_from_outside() -> None:
    variables = {"first": lambda tokens: tokens[0]}
    model = CausalModel(variables, lambda first: first)
    variables["second"] = variables["first"]
    assert list(model.variables) == ["first"]
