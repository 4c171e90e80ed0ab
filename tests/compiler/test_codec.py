"""Encoding of tokens, and decoding of outputs as labels or values."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tracr.rasp import rasp

from interpbench_jax.alignment import align
from interpbench_jax.cases import Case
from interpbench_jax.compiler import CompiledCase, algorithm_outputs, compile_case
from interpbench_jax.compiler import compiled as compiled_module
from interpbench_jax.evaluation import edge_effects
from interpbench_jax.model import forward
from interpbench_jax.siit import agreement, make_problem, task_loss


def one_answer() -> rasp.SOp:
    """Yes if a smaller token is in the sequence, else undefined."""
    smaller = rasp.Select(rasp.tokens, rasp.tokens, rasp.Comparison.LT)
    return rasp.Aggregate(smaller, rasp.Map(lambda token: "yes", rasp.tokens))


def same_text() -> rasp.SOp:
    return rasp.Map(lambda token: 1 if token == "a" else "1", rasp.tokens)


ONE_ANSWER = Case(name="one", title="", program=one_answer, vocab=("a", "b"), n_ctx=4)
SAME_TEXT = Case(name="same", title="", program=same_text, vocab=("a", "b"), n_ctx=5)


def decoded(compiled: CompiledCase, word: str) -> list:
    tokens = jnp.asarray(compiled.encode([word]))
    return compiled.decode(forward(compiled.params, compiled.config, tokens)[0])[0]


def test_undefined_outputs_are_decoded_as_none() -> None:
    compiled = compile_case(ONE_ANSWER)
    assert decoded(compiled, "aba") == [None, "yes", None]
    assert decoded(compiled, "bab") == ["yes", None, "yes"]
    assert decoded(compiled, "bbb") == [None, None, None]


@pytest.mark.parametrize("heavy", [True, False])
def test_a_program_with_one_possible_output_has_labels(monkeypatch, heavy: bool) -> None:
    """In targets, losses, agreement and effects; all are 0, as outputs cannot differ."""
    monkeypatch.setattr(compiled_module, "_HEAVY", 0 if heavy else 10**9)
    compiled = compile_case(ONE_ANSWER)
    assert compiled.categorical and compiled.config.d_vocab_out == 1
    labels = algorithm_outputs(compiled, np.array([[0, 1, 0]]))
    assert jnp.issubdtype(labels.dtype, jnp.integer) and (labels == 0).all()

    problem = make_problem(compiled, align(compiled), jax.random.key(0), n_pairs=20)
    assert problem.categorical
    assert jnp.issubdtype(problem.variable_targets.dtype, jnp.integer)
    logits = jax.random.normal(jax.random.key(1), (problem.n_pairs, 4, 1))
    assert task_loss(logits, problem.base_target, problem.position_weights) == 0
    assert agreement(logits, problem.base_target, problem.position_weights) == 1


def test_effects_of_one_possible_output_are_those_on_labels() -> None:
    compiled = compile_case(ONE_ANSWER)
    base, source = (jnp.asarray(compiled.encode([word])) for word in ("aba", "bbb"))
    edges = compiled.graph.edges
    effects = edge_effects(
        compiled.params, compiled.config, base, source, edges, categorical=compiled.categorical
    )
    assert (effects == 0).all()


def test_outputs_of_one_text_are_two() -> None:
    compiled = compile_case(SAME_TEXT)  # warnings are errors, so it gives none
    assert sorted(map(repr, compiled.codec.outputs or ())) == ["'1'", "1"]
    assert decoded(compiled, "abab") == [1, "1", 1, "1"]
    labels = np.asarray(algorithm_outputs(compiled, np.array([[0, 1, 0, 1]])))[0, 1:]
    assert [(compiled.codec.outputs or ())[label] for label in labels] == [1, "1", 1, "1"]


IN_ORDER = """
from tracr.rasp import rasp
from interpbench_jax.cases import Case
from interpbench_jax.compiler import compile_case

values = (1, "1", 9, 10, "2", "9")
case = Case(name="mixed", title="", program=lambda: rasp.Map(lambda t: t, rasp.tokens),
            vocab=values, n_ctx=3)
codec = compile_case(case).codec
print(codec.outputs, codec.token_ids, codec.bos, codec.pad)
"""


@pytest.mark.slow
def test_ids_and_labels_are_the_same_in_every_process(tmp_path) -> None:
    """Tracr takes the order of 1 and "1" from a set; it depends on the process's hash seed."""
    runs = [
        subprocess.run(
            [sys.executable, "-c", IN_ORDER],
            capture_output=True,
            text=True,
            env=os.environ | {"PYTHONHASHSEED": seed, "INTERPBENCH_CACHE": str(tmp_path / seed)},
        )
        for seed in ("1", "2", "3")
    ]
    assert all(run.stdout for run in runs), runs[0].stderr
    assert len({run.stdout for run in runs}) == 1
