"""A case's program as a checked graph of expressions, with the values that each can take.

Tracr names every expression after a counter of the whole process, and sorts the residual stream by
these names. The expressions of a program are renumbered here, so the same program gives the same
weights regardless of what was compiled before.

All errors in a program are detected here, as a `ValueError` that names the case and the expression.
"""

import contextlib
import copy
import itertools
import logging
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import networkx as nx
import numpy as np
from tracr.compiler import basis_inference, nodes, rasp_to_graph, validating
from tracr.craft import bases
from tracr.rasp import rasp

from interpbench_jax.cases import Case
from interpbench_jax.files import error_text

BOS = "BOS"
PAD = "PAD"
# Tracr appends it to the label of a selector width to name what the head of that width writes.
_WIDTH_HEAD = "_selector_width_attn_output"

_INPUTS = (rasp.TokensType, rasp.IndicesType)
_COMPILED = (rasp.Map, rasp.SequenceMap, rasp.Aggregate, rasp.SelectorWidth, rasp.Select)
_HINTS = {
    rasp.SelectorAnd: "selectors can be combined only if they have the same keys and queries",
    rasp.SelectorOr: "selectors can be combined only if they have the same keys and queries",
    rasp.Full: "a Map can give every token the same value",
    rasp.LengthType: "the width of a selector that selects everything is the length",
}


class ProgramGraph(NamedTuple):
    """A program that has passed all checks short of compiling it.

    Attributes:
      graph: the expressions by label, with the values and directions that each can take.
      sink: the node of the output.
      sources: the nodes of the inputs.
      names: readable name of each expression, by label: the program's name, such as `is_x`,
        numbered if several expressions share it, such as `map_2` and `map_4`.
    """

    graph: nx.DiGraph
    sink: dict[str, Any]
    sources: list[dict[str, Any]]
    names: dict[str, str]

    @property
    def categorical(self) -> bool:
        """Whether the output is one of several values rather than a number, as encoded."""
        return rasp.is_categorical(self.sink[nodes.EXPR])


class _FunctionError(ValueError):
    """A function of a program fails; the message needs no further context."""


def program_graph(case: Case) -> ProgramGraph:
    """Builds a case's program, and infers the values of its expressions.

    A function that fails on a value with an arithmetic error, such as a division by zero, is
    undefined at that value. Any other error is raised.

    Raises:
      ValueError: the program fails, is not an expression, or has an expression that Tracr cannot
        compile or whose values are not plain; the message names case and expression.
    """
    refused = f"case {case.name!r} cannot be compiled: "
    if taken := {BOS, PAD} & set(case.vocab):
        raise ValueError(f"{refused}its vocabulary has {taken.pop()!r}, which Tracr adds itself")
    with _without_advice():
        made = _made(case)
        expressions = list(_breadth_first(made))
        names = _readable_names([expression.name for expression in expressions])
        program = _copied(expressions, names, where=f"case {case.name!r}: ")
    extracted = rasp_to_graph.extract_rasp_graph(program)
    graph = extracted.graph
    if rasp.tokens.label not in graph:
        raise ValueError(f"{refused}{names[program.label]!r} does not depend on the tokens")
    if unsupported := validating.static_validate(program):
        reasons = (f"{names[found.expr.label]}: {found.reason}" for found in unsupported)
        raise ValueError(refused + "; ".join(reasons))
    try:
        basis_inference.infer_bases(graph, extracted.sink, set(case.vocab), case.n_ctx - 1)
    except _FunctionError:
        raise
    except (NotImplementedError, TypeError, ValueError) as error:
        order = nx.dfs_postorder_nodes(graph.reverse(), program.label)
        stuck = next(label for label in order if _lacks_basis(graph.nodes[label]))
        reason = " ".join(map(str, error.args))
        raise ValueError(f"{refused}expression {names[stuck]!r}: {reason}") from error
    for label, node in graph.nodes.items():
        if isinstance(node[nodes.EXPR], rasp.SOp):
            if not node[nodes.VALUE_SET]:
                raise ValueError(
                    f"{refused}expression {names[label]!r} is undefined on every input"
                )
            node[nodes.OUTPUT_BASIS] = in_order(node[nodes.OUTPUT_BASIS])
        if isinstance(node[nodes.EXPR], rasp.Select):
            _check_predicate(graph, node[nodes.EXPR], f"case {case.name!r}: {names[label]!r}")
    return ProgramGraph(graph, extracted.sink, extracted.sources, names)


def in_order(directions: Sequence[bases.BasisDirection]) -> list[bases.BasisDirection]:
    """Tracr's order of directions, made deterministic.

    Tracr compares values of different types by their text. Values with the same text, such as 1 and
    "1", are in the order of a set, which differs between processes.
    """
    return sorted(sorted(directions, key=lambda direction: repr(direction.value)))


def held_values(labels: Sequence[str], names: Mapping[str, str]) -> tuple[str, ...]:
    """Readable names of what one component writes.

    The head of a selector width writes `1 / (1 + width)`: for the width `n_later` this is named
    `n_later.attention`. Its MLP writes the width, and clears what the head wrote at BOS, which is
    omitted here.

    Args:
      labels: labels of the directions that it writes, each once.
      names: readable names of the expressions, by label.
    """
    widths = {label + _WIDTH_HEAD: label for label in names}
    return tuple(
        f"{names[widths[label]]}.attention" if label in widths else names[label]
        for label in labels
        if widths.get(label) not in labels
    )


@contextlib.contextmanager
def _without_advice() -> Iterator[None]:
    """Keeps Tracr from printing that a map of an input with itself is discouraged.

    InterpBench's programs 15 and 119 are written so, and ours are the same programs.
    """

    def is_other(record: logging.LogRecord) -> bool:
        return "both inputs being the same SOp" not in record.getMessage()

    logger = logging.getLogger("absl")
    logger.addFilter(is_other)
    try:
        yield
    finally:
        logger.removeFilter(is_other)


def _made(case: Case) -> rasp.SOp:
    try:
        program = case.program()
    except Exception as error:
        raise ValueError(f"case {case.name!r}: its program raises {error_text(error)}") from error
    if not isinstance(program, rasp.SOp):
        raise ValueError(
            f"case {case.name!r}: its program returns {program!r}, expected a RASP expression"
        )
    if isinstance(program, _INPUTS):
        raise ValueError(
            f"case {case.name!r} cannot be compiled: its program is {program.label!r} itself, "
            "so there is nothing to compute"
        )
    for expression in _breadth_first(program):
        if not isinstance(expression, _COMPILED):
            kind = type(expression)
            hint = f"; {_HINTS[kind]}" if kind in _HINTS else ""
            raise ValueError(
                f"case {case.name!r} cannot be compiled: expression {expression.name!r} is a "
                f"{kind.__name__}, which Tracr cannot compile{hint}"
            )
    return program


def _breadth_first(program: rasp.RASPExpr) -> Iterator[rasp.RASPExpr]:
    """Each expression once, except tokens and indices; the output first."""
    seen, waiting = {id(program)}, [program]
    for expression in waiting:  # grows during the loop
        yield expression
        for child in expression.children:
            if id(child) not in seen and not isinstance(child, _INPUTS):
                seen.add(id(child))
                waiting.append(child)


def _readable_names(given: Sequence[str]) -> dict[str, str]:
    """The readable name of each expression, by label; all names are distinct.

    Args:
      given: the names in the program, in the order of the expressions' numbers.
    """
    times = Counter(given)
    names = {f"{name}_{number}": name for number, name in enumerate(given, start=1)}
    inputs = {source.label: source.label for source in (rasp.tokens, rasp.indices)}
    taken = names.keys() | inputs.keys()
    return inputs | {
        label: name if times[name] == 1 and name not in taken else label
        for label, name in names.items()
    }


def _copied(
    expressions: Sequence[rasp.RASPExpr], names: Mapping[str, str], *, where: str
) -> rasp.SOp:
    """A renumbered copy of the program, with functions whose errors name the expression.

    Args:
      expressions: the program's expressions, in the order of their numbers.
      names: their names in error messages.
      where: start of each error message.
    """
    copies: dict[int, Any] = {id(expression): copy.copy(expression) for expression in expressions}
    for number, new in enumerate(copies.values(), start=1):
        for attribute, value in vars(new).items():
            if id(value) in copies:
                setattr(new, attribute, copies[id(value)])
        new.__dict__["unique_id"] = number
        if isinstance(new, rasp.Map | rasp.SequenceMap):
            numerical = rasp.is_numerical(new)
            # Tracr skips undefined values only when it tabulates a function of a number.
            of_numbers = all(rasp.is_numerical(child) for child in new.children)
            undefined = 0.0 if numerical and not of_numbers else None
            new.f = _guarded(new.f, f"{where}{names[new.label]!r}", numerical, undefined)
    return copies[id(expressions[0])]


def _guarded(
    function: Callable[..., Any], where: str, numerical: bool, undefined: float | None
) -> Callable[..., Any]:
    """The function, made to return plain values or `undefined`, or raise one clear error."""

    def guarded(*values: Any) -> Any:
        on = f"on {' and '.join(map(repr, values))}"
        try:
            result = function(*values)
        except ArithmeticError:
            result = None
        except Exception as error:
            raise _FunctionError(f"{where} raises {error_text(error)}, {on}") from error
        if result is None:
            return undefined
        if not (_is_finite_number(result) if numerical else _is_plain(result)):
            expected = "a finite number" if numerical else "a str, bool, number or tuple of these"
            raise _FunctionError(f"{where} is {result!r} {on}, expected {expected}")
        return result

    return guarded


def _check_predicate(graph: nx.DiGraph, select: rasp.Select, where: str) -> None:
    """Compares all keys with all queries; errors that Tracr raises do not name the expression."""
    keys, queries = (graph.nodes[s.label][nodes.VALUE_SET] for s in (select.keys, select.queries))
    for key, query in itertools.product(keys, queries):
        try:
            bool(select.predicate(key, query))
        except Exception as error:
            raise ValueError(
                f"{where} raises {error_text(error)}, for key {key!r} and query {query!r}"
            ) from error


def _lacks_basis(node: dict[str, Any]) -> bool:
    return isinstance(node[nodes.EXPR], rasp.SOp) and nodes.OUTPUT_BASIS not in node


def _is_plain(value: Any) -> bool:
    """Whether a value can be compared and stored; NaN is excluded, as it differs from itself."""
    if isinstance(value, tuple):
        return all(entry is None or _is_plain(entry) for entry in value)
    plain = value.item() if isinstance(value, np.generic) else value
    return isinstance(plain, str | int | float) and plain == plain


def _is_finite_number(value: Any) -> bool:
    try:
        return isinstance(value, int | float | np.number | np.bool_) and math.isfinite(value)
    except OverflowError:  # an integer larger than any float
        return False
