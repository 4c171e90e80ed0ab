"""A RASP program evaluated on arrays of inputs: the compiled model's outputs without running it.

Every categorical expression is an array of indices into its sorted values, -1 where it is
undefined; numerical expressions are floats. Functions and selectors become lookup tables.

The rules are those of the compiled model; RASP's interpreter follows only some of them:

- BOS is position 0. It has no token and no index, but a function of a number has a value there.
- What is undefined (a zero vector) is never selected, selects nothing, and maps to undefined, or
  to 0 where the result is a number.
- If nothing is selected, attention falls on BOS: an aggregate takes the value at BOS, which is
  usually undefined or 0. If BOS itself is selected, it outweighs everything else.
- A causal model never attends to later positions, whatever the selector selects.
- Functions of numbers, and selector widths, are Tracr's MLPs, with slopes between the steps.

Two effects are not modelled. If Tracr's steps are not sharp (a width of 9 is written as 0.56 of 9
and 0.44 of 8), the most likely value is taken. An average of different values of a categorical
expression is an error.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
from jaxtyping import Array, Bool, Int
from tracr.compiler import nodes
from tracr.craft import bases, transformers
from tracr.rasp import rasp

from interpbench_jax.cases import Case
from interpbench_jax.compiler.tracr_stages import TracrModel
from interpbench_jax.compiler.variables import Variable
from interpbench_jax.model.graph import TransformerGraph

_ONE = bases.BasisDirection("one")

Expressions = dict[str, Array]
"""The values of the expressions on one input, by label, `[pos]` each, BOS first."""

See = Callable[[int, int, str, Array], Array]


class Step(NamedTuple):
    """How one expression is computed.

    Attributes:
      label: Tracr's name, as in `Variable.labels`.
      operation: the operation on the arguments and the step's tables.
      args: labels of the expressions that it reads.
    """

    label: str
    operation: Literal["tokens", "indices", "lookup", "mlp", "linear", "select", "mean", "count"]
    args: tuple[str, ...] = ()


@dataclass(frozen=True)
class RaspArrays:
    """A program as lookup tables.

    Attributes:
      steps: the steps in order of computation; the last one is the output.
      tables: the tables of each step, by its label.
      causal: whether attention is causal.
      categorical: whether the output is one of several values rather than a number.
    """

    steps: tuple[Step, ...]
    tables: dict[str, tuple[np.ndarray, ...]]
    causal: bool
    categorical: bool


def rasp_on_arrays(tracr: TracrModel, case: Case) -> RaspArrays:
    """Tabulates the expressions of a program.

    Args:
      tracr: the compiled program.
      case: the case it was compiled from.
    """
    steps, tables = [], {}
    for label in nx.topological_sort(tracr.graph):
        for step, *table in _steps(tracr, case, tracr.graph.nodes[label]):
            steps.append(step)
            tables[step.label] = tuple(table)
    return RaspArrays(tuple(steps), tables, case.causal, tracr.categorical)


class Wire(NamedTuple):
    """The edges of the compiled model through which a step reads its arguments.

    Attributes:
      writer: index of the writer of the step's expression.
      readers: for each argument, the index of the reader that sees it.
    """

    writer: int
    readers: tuple[int, ...]


def find_wires(
    program: RaspArrays, variables: Sequence[Variable], graph: TransformerGraph
) -> tuple[Wire, ...]:
    """Finds the edges of every step from the node that writes it.

    If two nodes write an expression (a selector width's MLP clears at BOS what its head writes), it
    belongs to the first.

    Args:
      program: the tabulated program.
      variables: what the nodes of the compiled model hold.
      graph: the compiled model's graph.

    Raises:
      ValueError: no node holds a step's expression.
    """
    node_of = {label: v.node for v in reversed(variables) for label in v.labels}
    wires = []
    for step in program.steps:
        if step.operation in ("tokens", "indices"):
            wires.append(Wire(graph.writer_index("input"), ()))
            continue
        if step.label not in node_of:
            raise ValueError(f"no node of the compiled model holds {step.label!r}")
        node = node_of[step.label]
        # Attention has keys, queries and values, in this order.
        kinds = ("",) if node.startswith("m") else ("<k>", "<q>", "<v>")
        readers = [f"{node}{kinds[min(i, len(kinds) - 1)]}" for i in range(len(step.args))]
        wires.append(Wire(graph.writer_index(node), tuple(map(graph.reader_index, readers))))
    return tuple(wires)


def run_program(
    steps: tuple[Step, ...],
    causal: bool,
    tables: Any,
    row: Int[Array, " length"],
    present: Bool[Array, " pos"],
    see: See | None = None,
) -> tuple[Expressions, dict[str, Bool[Array, ""]]]:
    """All expressions on one input.

    Args:
      steps: steps of the program.
      causal: whether attention is causal.
      tables: tables of the program.
      row: indices into the case's vocabulary, without BOS.
      present: false at padding, to which no position attends.
      see: returns what a step sees of an expression, given the step's number, the number of the
        argument, the label and the value; by default the value.

    Returns:
      Values of expressions by label; and by label, whether an aggregate averaged different values.
    """
    values: Expressions = {}
    averaged: dict[str, Array] = {}
    for number, step in enumerate(steps):
        args, table = [values[label] for label in step.args], tables[step.label]
        if see is not None:
            args = [see(number, i, step.args[i], value) for i, value in enumerate(args)]
        if step.operation == "tokens":
            here = jnp.pad(table[0][row], (1, 0), constant_values=-1)
        elif step.operation == "indices":
            here = jnp.arange(-1, len(row))
        elif step.operation == "lookup":
            here = table[0][tuple(args)]
        elif step.operation == "mlp":
            slope, offset, out = table
            hidden = jax.nn.relu(args[0][:, None] * slope[None] + offset[None])
            here = jnp.dot(hidden, out, precision="highest")
            here = here if here.ndim == 1 else here.argmax(1)
        elif step.operation == "linear":
            here = table[0][0] * args[0] + table[0][1] * args[1]
        else:
            selected = _selected(args[0], args[1], table[0], causal, present)
            if step.operation == "count":
                here = selected[:, 1:].sum(1).at[0].set(-1)  # an MLP clears it at BOS
            elif step.operation == "mean":
                here = jnp.where(selected, args[2], 0).sum(1) / selected.sum(1)
            else:
                here = jnp.where(selected, args[2], -1).max(1)
                least = jnp.where(selected, args[2], jnp.iinfo(jnp.int32).max).min(1)
                averaged[step.label] = ((least != here) & present).any()
        values[step.label] = here
    return values, averaged


def _selected(
    keys: Int[Array, " pos"],
    queries: Int[Array, " pos"],
    table: Array,
    causal: bool,
    present: Bool[Array, " pos"],
) -> Bool[Array, "pos key"]:
    """Where each position attends; only BOS if it selects nothing or selects BOS."""
    selected = table[queries[:, None], keys[None, :]] & present[None, :]
    if causal:
        selected &= np.tri(len(keys), dtype=bool)
    others = selected.at[:, 0].set(False)
    to_bos = selected[:, 0] | ~others.any(1)
    return jnp.where(to_bos[:, None], np.arange(len(keys))[None] == 0, others)


def _steps(tracr: TracrModel, case: Case, node: Any) -> Iterator[tuple[Any, ...]]:
    """The steps of one node of the graph, each with its tables; a selector has none."""
    expr: Any = node[nodes.EXPR]
    label, reads = expr.label, tuple(child.label for child in expr.children)
    if isinstance(expr, rasp.TokensType):
        places = {token: place for place, token in enumerate(_values(tracr, expr))}
        yield Step(label, "tokens"), np.array([places[token] for token in case.vocab], np.int32)
    elif isinstance(expr, rasp.IndicesType):
        yield (Step(label, "indices"),)
    elif isinstance(expr, rasp.LinearSequenceMap):
        yield Step(label, "linear", reads), np.array([expr.fst_fac, expr.snd_fac], np.float32)
    elif isinstance(expr, rasp.Map) and rasp.is_numerical(expr.inner):
        slope, offset, out = _mlp(node[nodes.MODEL_BLOCK], reads[0], node[nodes.OUTPUT_BASIS])
        out = out[:, 0] if rasp.is_numerical(expr) else out
        yield Step(label, "mlp", reads), slope, offset, out
    elif isinstance(expr, rasp.Map | rasp.SequenceMap):
        yield Step(label, "lookup", reads), _table(tracr, expr)
    elif isinstance(expr, rasp.Aggregate | rasp.SelectorWidth):
        keys_queries = tuple(child.label for child in expr.selector.children)
        table = _selector(tracr, expr.selector)
        if isinstance(expr, rasp.Aggregate):
            operation: Any = "mean" if rasp.is_numerical(expr) else "select"
            yield Step(label, operation, (*keys_queries, expr.sop.label)), table
            return
        attention, mlp = node[nodes.MODEL_BLOCK].blocks
        (written,) = attention.w_ov.output_space.basis  # 1 / (1 + count); the MLP reads it
        yield Step(written.name, "count", keys_queries), table
        slope, offset, out = _mlp(mlp, written.name, node[nodes.OUTPUT_BASIS])
        shares = 1 / np.arange(1, case.n_ctx + 1)
        values = np.maximum(shares[:, None] * slope + offset, 0) @ out
        values = values[:, 0] if rasp.is_numerical(expr) else values.argmax(1)
        yield Step(label, "lookup", (written.name,)), _with_undefined(values, expr)
    elif not isinstance(expr, rasp.Select):
        raise ValueError(f"{label!r}: no rule for a {type(expr).__name__}")


def _values(tracr: TracrModel, expr: rasp.SOp) -> list[Any]:
    """The values that a categorical expression can take; tuples too."""
    return [direction.value for direction in tracr.graph.nodes[expr.label][nodes.OUTPUT_BASIS]]


def _table(tracr: TracrModel, expr: Any) -> np.ndarray:
    """A function's results for all values of its arguments, as numbers or indices of values."""
    domains = [_values(tracr, arg) for arg in expr.children]
    results = [expr.f(*values) for values in itertools.product(*domains)]
    if rasp.is_categorical(expr):
        places = {value: place for place, value in enumerate(_values(tracr, expr))}
        results = [places.get(result, -1) for result in results]
    return _with_undefined(np.reshape(results, [len(domain) for domain in domains]), expr)


def _with_undefined(table: np.ndarray, expr: rasp.SOp) -> np.ndarray:
    """Appends the result for undefined arguments, which have index -1."""
    if rasp.is_numerical(expr):
        return np.pad(table.astype(np.float32), (0, 1))
    return np.pad(table.astype(np.int32), (0, 1), constant_values=-1)


def _selector(tracr: TracrModel, select: rasp.Select) -> np.ndarray:
    """Whether a query value (row) selects a key value; the last row and column are undefined."""
    keys, queries = _values(tracr, select.keys), _values(tracr, select.queries)
    table = [[bool(select.predicate(key, query)) for key in keys] for query in queries]
    return np.pad(np.array(table), (0, 1))


def _mlp(
    block: transformers.MLP, label: str, written: Sequence[bases.BasisDirection]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Slopes and offsets of the hidden units of a function of one number, and what they write.

    Args:
      block: the MLP.
      label: label of the number.
      written: the output directions to return.
    """
    places = block.fst.input_space.index_by_direction
    slope = block.fst.matrix[places[bases.BasisDirection(label)]]
    offset = block.fst.matrix[places[_ONE]]
    out = block.snd.matrix[:, [block.snd.output_space.index_by_direction[d] for d in written]]
    return slope.astype(np.float32), offset.astype(np.float32), out.astype(np.float32)
