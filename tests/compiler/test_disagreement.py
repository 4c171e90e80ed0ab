"""Programs that Tracr compiles wrongly are refused, and the error names the expression."""

import pytest
from tracr.rasp import rasp

from interpbench_jax.cases import Case, get_case
from interpbench_jax.compiler import compile_case
from interpbench_jax.compiler.disagreement import RememberingEvaluator


def counted() -> rasp.SOp:
    """Tracr's table of widths ends at nine."""
    same = rasp.Select(rasp.tokens, rasp.tokens, rasp.Comparison.EQ).named("same")
    return rasp.Map(lambda n: n % 2, rasp.SelectorWidth(same).named("count")).named("odd")


def averaged() -> rasp.SOp:
    """Categorical values can be moved but not averaged."""
    everywhere = rasp.Select(rasp.tokens, rasp.tokens, rasp.Comparison.TRUE)
    return rasp.Map(str.upper, rasp.Aggregate(everywhere, rasp.tokens).named("mixed"))


def averaged_numbers() -> rasp.SOp:
    everywhere = rasp.Select(rasp.tokens, rasp.tokens, rasp.Comparison.TRUE)
    return rasp.Aggregate(everywhere, rasp.indices).named("middle")


def nothing_selects_nothing() -> rasp.SOp:
    """The interpreter lets undefined match undefined."""
    before = rasp.Select(rasp.indices, rasp.indices, lambda key, query: key == query - 1)
    shifted = rasp.Aggregate(before, rasp.tokens).named("shifted")
    return rasp.SelectorWidth(
        rasp.Select(shifted, shifted, lambda key, query: key == query).named("alike")
    ).named("how_many")


def equal_tokens() -> rasp.SOp:
    """All averaged values are equal, which is valid."""
    same = rasp.Select(rasp.tokens, rasp.tokens, rasp.Comparison.EQ)
    return rasp.Aggregate(same, rasp.tokens).named("itself")


def made(program, **fields) -> Case:
    return Case(name=program.__name__, title="", program=program, vocab=("a", "b"), **fields)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (made(counted, n_ctx=12), "expression 'count' is 11 at position 0 .* model says 10"),
        (made(averaged, n_ctx=4), "expression 'mixed' is \"the average of .'a', "),
        (made(averaged_numbers, n_ctx=4), "expression 'middle' is 1.0 at .* model says 0"),
        (made(nothing_selects_nothing, n_ctx=4), "expression 'how_many' is 1 at position 0"),
    ],
    ids=lambda value: value.name if isinstance(value, Case) else "",
)
def test_the_first_expression_that_differs_is_named(case: Case, message: str) -> None:
    for _ in range(2):  # from the cache, too
        with pytest.warns(UserWarning, match=f"case '{case.name}': {message}"):
            compile_case(case)


def capitals() -> rasp.SOp:
    return rasp.Map(str.upper, rasp.tokens).named("upper")


def test_an_expression_that_was_never_compared_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise KeyError("b")

    monkeypatch.setattr(RememberingEvaluator, "eval_map", fail)
    message = "expression 'upper' could not be compared .* fails on every input, .* KeyError: 'b'"
    with pytest.warns(UserWarning, match=f"case 'capitals': {message}"):
        compile_case(made(capitals, n_ctx=4))


def test_inputs_on_which_the_interpreter_fails_are_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    usual = RememberingEvaluator.eval_map

    def fail(self: RememberingEvaluator, sop: rasp.Map, xs: tuple[str, ...]) -> list[object]:
        if xs[0] == "a":
            raise KeyError("a")
        return usual(self, sop, xs)

    monkeypatch.setattr(RememberingEvaluator, "eval_map", fail)
    assert compile_case(made(capitals, n_ctx=5)).disagreement is None


@pytest.mark.parametrize(
    "case", [made(equal_tokens, n_ctx=4), get_case("13")], ids=lambda c: c.name
)
def test_no_false_alarm(case: Case) -> None:
    assert compile_case(case).disagreement is None


def no_default() -> rasp.SOp:
    flags = rasp.numerical(rasp.tokens == "a")
    before = rasp.Select(rasp.indices, rasp.indices, rasp.Comparison.LT)
    return rasp.numerical(rasp.Aggregate(before, flags, default=None)).named("share_before")


def another_default() -> rasp.SOp:
    before = rasp.Select(rasp.indices, rasp.indices, rasp.Comparison.LT)
    return rasp.Aggregate(before, rasp.tokens, default="a").named("copied")


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (no_default, "share_before: Numerical aggregate only supports 0"),
        (another_default, "copied: Categorical aggregate only supports None"),
    ],
)
def test_what_tracr_cannot_compile_is_refused_by_name(program, message: str) -> None:
    with pytest.raises(ValueError, match=f"'{program.__name__}' cannot be compiled: .*{message}"):
        compile_case(made(program, n_ctx=4))
