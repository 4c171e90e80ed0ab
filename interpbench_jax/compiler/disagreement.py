"""Comparison of a compiled model with its program: Tracr compiles some programs wrongly.

Examples are averages of different categorical values, selector widths of nine or more, and
functions that are defined at BOS. Tracr compiles such programs without an error, but the model
computes something else. The comparison with RASP's interpreter finds them and names the first
expression that differs.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import networkx as nx
import numpy as np
from jaxtyping import Float, Int
from tracr.compiler import nodes
from tracr.craft import bases
from tracr.rasp import rasp

from interpbench_jax.cases import Case, Value
from interpbench_jax.compiler.tracr_stages import TracrModel

# Numbers that differ by more than this are different.
_CLOSE = 1e-2
# A categorical value is written as 1; entries below this count as "undefined".
_NOTHING = 1e-2


class Disagreement(NamedTuple):
    """The first expression, in order of computation, on which model and program differ.

    Attributes:
      expression: its readable name.
      sequence: an input on which they differ.
      position: position in the input, counted from 0 without BOS.
      by_program: the value according to RASP's interpreter.
      by_model: the value according to the compiled model.
    """

    expression: str
    sequence: tuple[Value, ...]
    position: int
    by_program: Value
    by_model: Value | None

    def __str__(self) -> str:
        """Describes the difference in one line."""
        return (
            f"expression {self.expression!r} is {self.by_program!r} at position {self.position} of "
            f"{list(self.sequence)}, but the compiled model says {self.by_model!r}"
        )


class NotCompared(NamedTuple):
    """An expression that RASP's interpreter cannot evaluate on any of the compared inputs.

    Attributes:
      expression: its readable name.
      reason: the interpreter's error on the first input.
    """

    expression: str
    reason: str

    def __str__(self) -> str:
        """Says in one line what was not compared, and why."""
        return (
            f"expression {self.expression!r} could not be compared with the compiled model: RASP's "
            f"interpreter fails on every input, first with {self.reason}"
        )


def find_disagreement(
    case: Case,
    tracr: TracrModel,
    inputs: Int[np.ndarray, "sequence length"],
    residual: Float[np.ndarray, "sequence length d_model"],
) -> Disagreement | NotCompared | None:
    """Compares every expression of a program on some inputs; undefined values match anything.

    Inputs on which the interpreter fails are left out: a function may fail if its argument is
    undefined, or an average in the interpreter. If all are, and nothing else differs, the first
    such expression is returned.

    Args:
      case: the case.
      tracr: Tracr's compilation of it.
      inputs: indices into the case's vocabulary.
      residual: the compiled model's final residual stream on them, after BOS.
    """
    evaluator = RememberingEvaluator()
    not_compared: NotCompared | None = None
    sequences = [tuple(case.vocab[i] for i in row) for row in inputs]
    for label in nx.topological_sort(tracr.graph):
        expression = tracr.graph.nodes[label][nodes.EXPR]
        if not isinstance(expression, rasp.SOp):
            continue
        basis = tracr.graph.nodes[label][nodes.OUTPUT_BASIS]
        values = residual[..., [tracr.residual.index(direction) for direction in basis]]
        failures: list[str] = []
        for row, sequence in enumerate(sequences):
            try:
                of_program = evaluator.evaluate(expression, sequence)
            except Exception as error:
                failures.append(f"{type(error).__name__}: {error}")
                continue
            of_model = _read(expression, basis, values[row])
            for position, (by_program, by_model) in enumerate(
                zip(of_program, of_model, strict=True)
            ):
                if by_program is not None and not _same(by_program, by_model):
                    name = tracr.names[label]
                    return Disagreement(name, sequence, position, by_program, by_model)
        if len(failures) == len(sequences):
            not_compared = not_compared or NotCompared(tracr.names[label], failures[0])
    return not_compared


def _same(interpreted: Any, written: Any) -> bool:
    """Whether two values are equal, or are close numbers of which one is a float."""
    numbers = isinstance(interpreted, int | float) and isinstance(written, float)
    return bool(interpreted == written) or (numbers and abs(interpreted - written) < _CLOSE)


def _read(
    expression: rasp.SOp,
    basis: Sequence[bases.BasisDirection],
    values: Float[np.ndarray, "length direction"],
) -> Iterator[Any]:
    """The expression's value at each position, from the directions that hold it."""
    for vector in values:
        if rasp.is_numerical(expression):
            yield float(vector[0])
        else:
            yield basis[vector.argmax()].value if vector.max() > _NOTHING else None


def _selects(predicate: Callable[[Any, Any], bool], key: Any, query: Any) -> bool:
    try:
        return bool(predicate(key, query))
    except Exception:
        if key is None or query is None:
            return False
        raise


class RememberingEvaluator(rasp.DefaultRASPEvaluator):
    """RASP's interpreter, evaluating each expression once per input."""

    def __init__(self) -> None:
        """Starts with nothing evaluated."""
        super().__init__()
        self._found: dict[tuple[str, tuple[Value, ...]], Any] = {}

    def evaluate(self, expr: rasp.RASPExpr, xs: Any) -> Any:
        """See `rasp.DefaultRASPEvaluator`."""
        key = (expr.label, tuple(xs))
        if key not in self._found:
            self._found[key] = super().evaluate(expr, xs)
        return self._found[key]

    def eval_select(self, sel: rasp.Select, xs: Any) -> list[list[bool]]:
        """As in RASP, but a comparison with an undefined value is false, not an error."""
        keys = self.evaluate(sel.keys, xs)
        queries = self.evaluate(sel.queries, xs)
        return [[_selects(sel.predicate, key, query) for key in keys] for query in queries]

    def eval_aggregate(self, sop: rasp.Aggregate, xs: Any) -> list[Any]:
        """As in RASP, but equal values need not be numbers, and an average names its values."""
        values = self.evaluate(sop.sop, xs)
        found = []
        for row in self.evaluate(sop.selector, xs):
            chosen = [value for value, selected in zip(values, row, strict=True) if selected]
            if all(value == chosen[0] for value in chosen):
                found.append(chosen[0] if chosen else sop.default)
            elif all(isinstance(value, int | float) for value in chosen):
                found.append(sum(chosen) / len(chosen))
            else:
                found.append(f"the average of {chosen}")
        return found
