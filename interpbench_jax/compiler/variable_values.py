"""The values of a program's variables on given inputs."""

from collections.abc import Sequence

from tracr.compiler import nodes
from tracr.rasp import rasp

from interpbench_jax.cases import Case, Value, get_case
from interpbench_jax.compiler.disagreement import RememberingEvaluator
from interpbench_jax.compiler.program_graph import program_graph


def variable_values(
    case: Case | str, inputs: Sequence[Sequence[Value]]
) -> dict[str, list[list[Value | None]]]:
    """The values of every expression of a program, by RASP's interpreter.

    They are the labels for probes, or the targets of a search for the directions that hold a
    variable.

    Args:
      case: a case, or its name.
      inputs: sequences of tokens, without BOS.

    Returns:
      For every expression, by the name that it has in `Variable.values`, a list for each input with
      a value for each token: None where it is undefined. The head that counts for a selector width
      writes a function of the width, and has no entry of its own.

    Raises:
      ValueError: the case is unknown, or a token is not in its vocabulary.
    """
    case = get_case(case) if isinstance(case, str) else case
    for sequence in inputs:
        if unknown := [token for token in sequence if token not in case.vocab]:
            raise ValueError(
                f"case {case.name!r} has no token {unknown[0]!r}; its tokens are "
                f"{', '.join(map(repr, case.vocab))}"
            )
    program, evaluator = program_graph(case), RememberingEvaluator()
    expressions = {
        program.names[label]: node[nodes.EXPR]
        for label, node in program.graph.nodes.items()
        if isinstance(node[nodes.EXPR], rasp.SOp)
    }
    return {
        name: [list(evaluator.evaluate(expression, tuple(row))) for row in inputs]
        for name, expression in expressions.items()
    }
