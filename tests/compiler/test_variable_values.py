"""Values of variables agree with compiled models, and have the variables' names."""

import jax
import pytest
from tracr.rasp import rasp

import interpbench_jax as ib
from interpbench_jax.cases import Case, sample_sequences
from interpbench_jax.compiler import compile_case, variable_values


@pytest.mark.parametrize("name", ["3", "11", "13", "18", "21"])
def test_the_output_is_that_of_the_compiled_model(name: str) -> None:
    compiled = compile_case(name)
    drawn = sample_sequences(compiled.case, 20, jax.random.key(0))
    inputs = [[compiled.case.vocab[i] for i in row] for row in drawn]
    found = variable_values(name, inputs)
    expected = {value for v in compiled.variables for value in v.values}
    assert {value.removesuffix(".attention") for value in expected} <= found.keys()
    logits, _ = ib.forward(compiled.params, compiled.config, compiled.encode(inputs))
    (output,) = compiled.variables[-1].values
    for ours, decoded in zip(found[output], compiled.decode(logits), strict=True):
        for value, written in zip(ours, decoded, strict=True):
            assert value is None or value == pytest.approx(written, abs=1e-2)


def test_values_of_every_expression() -> None:
    def program() -> rasp.SOp:
        before = rasp.Select(rasp.indices, rasp.indices, lambda key, query: key == query - 1)
        shifted = rasp.Aggregate(before, rasp.tokens).named("shifted")
        return rasp.Map(lambda x: x == "a", shifted).named("after_a")

    case = Case(name="after-a", title="", program=program, vocab=("a", "b"), n_ctx=4)
    assert variable_values(case, [["b", "a", "b"], ["a"]]) == {
        "tokens": [["b", "a", "b"], ["a"]],
        "indices": [[0, 1, 2], [0]],
        "shifted": [[None, "b", "a"], [None]],
        "after_a": [[None, False, True], [None]],
    }
    with pytest.raises(ValueError, match=r"has no token 'c'; its tokens are 'a', 'b'"):
        variable_values(case, [["a", "c"]])
