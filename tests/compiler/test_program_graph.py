"""Programs that compile; all others raise one clear error."""

import jax.numpy as jnp
import numpy as np
import pytest
from absl import logging
from tracr.rasp import rasp

from interpbench_jax.cases import Case
from interpbench_jax.compiler import case_fingerprint, compile_case, program_text
from interpbench_jax.compiler.program_graph import program_graph

EQ = rasp.Comparison.EQ
same_token = rasp.Select(rasp.tokens, rasp.tokens, EQ)
same_place = rasp.Select(rasp.indices, rasp.indices, EQ)


def mapped(function, name: str = "mapped") -> rasp.SOp:
    return rasp.Map(function, rasp.tokens).named(name)


def made(program, vocab: tuple = ("a", "b"), **fields) -> Case:
    return Case(name="mine", title="", program=program, vocab=vocab, n_ctx=4, **fields)


def forgotten() -> None:
    """No `return`."""


REFUSED = {
    "SelectorAnd": (
        lambda: rasp.Aggregate((same_token & same_place).named("both"), rasp.tokens),
        "expression 'both' is a SelectorAnd, which Tracr cannot compile",
    ),
    "SelectorOr": (
        lambda: rasp.SelectorWidth(same_token | same_place),
        "expression 'selector_or' is a SelectorOr, which Tracr cannot compile",
    ),
    "SelectorNot": (
        lambda: rasp.SelectorWidth(~(same_token | same_place)),
        "expression 'selector_not' is a SelectorNot",
    ),
    "ConstantSelector": (
        lambda: rasp.SelectorWidth(rasp.ConstantSelector([[True]])),
        "expression 'constant_selector' is a ConstantSelector",
    ),
    "ConstantSOp": (
        lambda: rasp.SequenceMap(max, rasp.tokens, rasp.ConstantSOp([1])),
        "expression 'constant_sop' is a ConstantSOp",
    ),
    "Full": (lambda: rasp.tokens + rasp.Full(1), "expression 'full' is a Full"),
    "length": (lambda: rasp.tokens + rasp.length, "expression 'length' is a LengthType"),
    "an operator": (lambda: 10 // rasp.tokens, "its program raises TypeError: unsupported operand"),
    "KeyError": (lambda: mapped({"a": 1}.__getitem__), "'mapped' raises KeyError: 'b', on 'b'"),
    "a predicate": (
        lambda: rasp.SelectorWidth(
            rasp.Select(rasp.tokens, rasp.indices, rasp.Comparison.LT).named("before")
        ),
        "'before' raises TypeError: '<' not supported .*, for key '.' and query 0",
    ),
    "a number": (lambda: 3, "its program returns 3, expected a RASP expression"),
    "None": (forgotten, "its program returns None, expected a RASP expression"),
    "a selector": (lambda: same_token, "its program returns <.*Select .*>, expected a RASP"),
    "tokens": (lambda: rasp.tokens, "its program is 'tokens' itself"),
    "indices": (lambda: rasp.indices, "its program is 'indices' itself"),
    "no tokens": (
        lambda: (rasp.indices + 1).named("next"),
        "'next' does not depend on the tokens",
    ),
    "a list": (lambda: mapped(lambda t: [t]), "'mapped' is .'.'. on '.', expected a str, bool, "),
    "an array": (lambda: mapped(lambda t: jnp.ones(2)), "'mapped' is Array.*, expected a str"),
    "NaN": (lambda: mapped(lambda t: np.nan), "'mapped' is nan on '.', expected a str"),
    "infinite": (
        lambda: rasp.numerical(mapped(lambda t: np.inf)),
        "'mapped' is inf on '.', expected a finite number",
    ),
    "too large": (
        lambda: rasp.numerical(mapped(lambda t: 10**400)),
        "'mapped' is 1000.* on '.', expected a finite number",
    ),
    "text for a number": (
        lambda: rasp.numerical(mapped(str.upper)),
        "'mapped' is '.' on '.', expected a finite number",
    ),
    "nothing": (lambda: mapped(lambda t: None), "expression 'mapped' is undefined on every input"),
    "values without an order": (
        lambda: mapped({"a": np.int64(3), "b": (1, 2)}.__getitem__),
        "expression 'mapped': The truth value of an array",
    ),
    "an average": (
        lambda: rasp.numerical(
            rasp.Aggregate(same_token, rasp.numerical(mapped(lambda t: 5)), default=0).named("mean")
        ),
        "expression 'mean': Attention patterns can currently only average binary variables. Not: ",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("use", [compile_case, case_fingerprint, program_text])
def test_what_cannot_be_compiled_is_one_clear_error(use, name: str) -> None:
    program, message = REFUSED[name]
    with pytest.raises(ValueError, match=f"^case 'mine'.*{message}") as error:
        use(made(program))
    assert "\n" not in str(error.value)


def test_tokens_that_tracr_adds_are_refused() -> None:
    with pytest.raises(ValueError, match="its vocabulary has 'BOS', which Tracr adds itself"):
        compile_case(made(lambda: mapped(str.upper), vocab=("a", "BOS")))


def says(case: Case, *words: list) -> list:
    """Outputs of the compiled model, after checking them against RASP's interpreter."""
    from interpbench_jax.model import forward

    compiled = compile_case(case)
    logits, _ = forward(compiled.params, compiled.config, jnp.asarray(compiled.encode(words)))
    assert compiled.disagreement is None
    return compiled.decode(logits)


def test_a_division_by_zero_is_undefined() -> None:
    case = made(lambda: mapped(lambda token: 10 // token), vocab=(0, 5, 10))
    assert says(case, [0, 5, 10]) == [[None, 2, 1]]
    number = made(lambda: rasp.numerical(mapped(lambda token: 10 / token)), vocab=(0, 5, 10))
    np.testing.assert_allclose(says(number, [0, 5, 10]), [[0, 2, 1]], atol=1e-5)


def test_the_program_is_not_changed() -> None:
    """Several cases can share one program."""
    shared = mapped(lambda token: token == "a")
    function, number = shared.f, shared.unique_id
    assert says(made(lambda: shared), ["a", "b"]) == [[True, False]]
    assert says(made(lambda: ~shared), ["a", "b"]) == [[False, True]]
    assert (shared.f, shared.unique_id) == (function, number)


def test_names_are_those_of_the_program_numbered_where_several_share_one() -> None:
    def program() -> rasp.SOp:
        count = rasp.SelectorWidth(same_token).named("n_same")
        flags = mapped(lambda token: token == "a", "flag") | mapped(lambda t: t == "b", "flag")
        return rasp.SequenceMap(lambda n, flag: n * flag, count, flags).named("flag_5")

    held = {variable.node: variable.values for variable in compile_case(made(program)).variables}
    assert held == {
        "a0.h0": ("n_same.attention",),
        "m0": ("flag_5", "flag_6", "n_same"),
        "m1": ("sequence_map",),
        "m2": ("flag_5_1",),  # `flag_5` is a flag already
    }
    assert "n_same = SelectorWidth(select)" in program_text(made(program))


def test_advice_of_tracr_is_not_printed_but_other_warnings_are(caplog):
    def program():
        logging.warning("mine")
        return rasp.SequenceMap(lambda x, y: x, rasp.tokens, rasp.tokens)

    program_graph(made(program))
    assert [record.getMessage() for record in caplog.records] == ["mine"]
    program()
    assert "both inputs being the same SOp" in caplog.records[-1].getMessage()
