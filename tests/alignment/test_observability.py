"""Unobservable edges, in algorithms made for these tests and in RASP programs."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

from interpbench_jax.alignment import align, observability, observed_circuit, unobservable_groups
from interpbench_jax.compiler import compile_case
from interpbench_jax.model import TransformerConfig
from interpbench_jax.tasks import CausalModel, CausalTask

NETWORK = TransformerConfig(
    n_layers=1, n_heads=16, d_model=4, d_head=2, d_mlp=4, n_ctx=4, d_vocab=8, d_vocab_out=16
)


def draw(key: Array, n: int) -> np.ndarray:
    return np.asarray(jax.random.randint(key, (n, 4), 0, 8))


def made(
    variables: Mapping[str, Callable[..., Array]],
    output: Callable[..., Array],
    positions: tuple[int, ...] = (0, 0, 0, 1),
) -> CausalTask:
    """A task with one head for each variable."""
    return CausalTask(
        name="made-up",
        title="made up",
        model=CausalModel(variables, output),
        network=NETWORK,
        nodes={name: f"a0.h{place}" for place, name in enumerate(variables)},
        draw=draw,
        position_weights=positions,
    )


def hidden(task: CausalTask) -> set[str]:
    """The algorithm's unobservable edges."""
    alignment = align(task)
    unseen = unobservable_groups(task, alignment)
    groups = zip(alignment.groups, unseen, strict=True)
    return {"->".join(edge) for (own, _), found in groups if found for edge in own}


def token(place: int) -> Callable[[Array], Array]:
    return lambda tokens: tokens[place]


def length(tokens: Array) -> Array:
    """Constant, as both inputs of a pair have the same length."""
    return jnp.asarray(tokens.size)


def median(a: Array, b: Array, c: Array) -> Array:
    return jnp.sort(jnp.stack([a, b, c]), 0)[1]


COPIES = {name: token(1) for name in "abc"}


def test_edges_that_never_matter_or_only_together() -> None:
    """Three variables hold the same token, so patching one of them is outvoted."""
    task = made(COPIES | {"n": length}, lambda a, b, c, n: median(a, b, c) + n)
    pairs = task.pairs(task.split(), "test", 100, jax.random.key(0))
    one = np.zeros((1, *task.circuit.graph.valid.shape), np.float32)
    both = one.copy()
    one[0, 0, 0] = both[0, 0, :2] = 1  # input->a; and input->b
    before = task.answers(pairs.base, pairs.source, 0 * one)
    assert (task.answers(pairs.base, pairs.source, one) == before).all()
    assert not (task.answers(pairs.base, pairs.source, both) == before).all()

    assert hidden(task) == {"input->n", "n->output"}
    circuit = observed_circuit(task, align(task))
    assert circuit.edges == align(task).circuit.edges
    assert circuit.unobservable == {
        *(("input", f"a0.h3<{kind}>") for kind in "qkv"),
        ("a0.h3", "logits"),
    }


def test_sets_are_drawn_if_there_are_too_many() -> None:
    """16 groups have 65,536 sets."""
    others: dict[str, Callable[..., Array]] = {f"x{place}": token(place) for place in range(4)}

    def total(
        a: Array, b: Array, c: Array, n: Array, x0: Array, x1: Array, x2: Array, x3: Array
    ) -> Array:
        return median(a, b, c) + n + jnp.maximum(jnp.maximum(x0, x1), jnp.maximum(x2, x3))

    task = made(COPIES | {"n": length} | others, total)
    assert len(align(task).groups) == 16
    assert hidden(task) == {"input->n", "n->output"}


def test_only_positions_that_count_are_compared() -> None:
    variables = {"here": lambda tokens: tokens, "before": lambda tokens: jnp.roll(tokens, 1)}

    def output(here: Array, before: Array) -> Array:
        first = jnp.arange(len(here)) == 0
        return jnp.where(first, before, here)

    unseen = {"input->before", "before->output"}
    assert hidden(made(variables, output, positions=(0, 1, 1, 1))) == unseen
    assert hidden(made(variables, output, positions=(1, 1, 1, 1))) == set()


@pytest.mark.parametrize("nothing", [-1, jnp.nan])
def test_undefined_answers_are_not_compared(nothing: float) -> None:
    """The answer is undefined if `a` and `b` differ, so neither can be patched alone."""

    def output(a: Array, b: Array, c: Array) -> Array:
        return jnp.where(a == b, a + c, nothing)

    two = {"a": token(1), "b": token(1), "c": token(2)}
    assert hidden(made(two, output)) == {"input->a", "input->b", "a->output", "b->output"}


@pytest.mark.parametrize(("size", "seen"), [(1e-6, False), (1e-3, True)])
def test_values_change_by_more_than_rounding(size: float, seen: bool) -> None:
    task = made({"a": token(1), "b": token(2)}, lambda a, b: 1.0 * a + size * b)
    assert hidden(task) == (set() if seen else {"input->b", "b->output"})


def test_variables_in_one_node_are_hidden_together_or_not_at_all() -> None:
    task = made({"a": token(1), "n": length}, lambda a, n: a + n)
    assert hidden(task) == {"input->n", "n->output"}
    object.__setattr__(task, "nodes", {"a": "a0.h0", "n": "a0.h0"})
    assert len(align(task).groups) == 2
    assert hidden(task) == set()
    assert observed_circuit(task, align(task)) == align(task).circuit


@pytest.mark.parametrize(
    ("case", "edges"),
    [
        ("13", {"input->a0.h0<q>", "input->a0.h0<k>"}),  # compare only positions
        ("19", {"input->a0.h0<q>", "input->a0.h0<k>"}),
        ("11", set()),
    ],
)
def test_edges_of_rasp_programs(case: str, edges: set[str], monkeypatch: Any) -> None:
    task = compile_case(case)
    circuit = observed_circuit(task, align(task))
    assert {"->".join(edge) for edge in circuit.unobservable} == edges
    monkeypatch.setattr(observability, "_N_PAIRS", 300)  # other pairs
    assert observed_circuit(task, align(task)) == circuit


def test_padded_inputs_of_several_lengths() -> None:
    """Both inputs of a pair have the same length."""
    task = dataclasses.replace(compile_case("13"), min_length=2)
    assert {edge for _, edge in observed_circuit(task, align(task)).unobservable} == {
        "a0.h0<q>",
        "a0.h0<k>",
    }
