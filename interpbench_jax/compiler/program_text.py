"""A RASP program as text, one expression per line."""

from tracr.compiler import nodes
from tracr.rasp import rasp

from interpbench_jax.cases import Case
from interpbench_jax.compiler.program_graph import program_graph

# Longer tables are cut.
_SHOWN = 6


def program_text(case: Case) -> list[str]:
    """The expressions of a case's program, inputs first.

    Functions are shown by their values, as in `is_x = Map(tokens): a -> False, x -> True`.

    Raises:
      ValueError: as `program_graph`.
    """
    graph, *_, names = program_graph(case)
    lines = []
    for label in reversed(list(graph.nodes)):
        expr = graph.nodes[label][nodes.EXPR]
        if isinstance(expr, rasp.TokensType | rasp.IndicesType):
            continue
        arguments = [names[child.label] for child in expr.children]
        if isinstance(expr, rasp.LinearSequenceMap):
            arguments += [f"factors {expr.fst_fac} and {expr.snd_fac}"]
        elif isinstance(expr, rasp.Aggregate):
            arguments += [f"default {expr.default}"]
        elif isinstance(expr, rasp.Select) and isinstance(expr.predicate, rasp.Comparison):
            arguments += [f"key {expr.predicate.value} query"]
        line = f"{names[label]} = {type(expr).__name__}({', '.join(arguments)})"
        if isinstance(expr, rasp.Map):
            values = sorted(graph.nodes[expr.inner.label][nodes.VALUE_SET], key=str)
            pairs = [f"{value} -> {expr.f(value)}" for value in values[:_SHOWN]]
            line += ": " + ", ".join(pairs) + (", ..." if len(values) > _SHOWN else "")
        lines.append(line)
    return lines
