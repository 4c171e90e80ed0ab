"""A RASP program over whole arrays of inputs: what its compiled model says, without running it.

Every categorical expression is an array of indices into its sorted values, -1 where it is
undefined; numerical ones are floats. Functions and selectors become lookup tables.

The rules are those of the compiled model, of which RASP's interpreter knows only a part:

- BOS is position 0. No token and no index is there, but a function of a number has a value there.
- What is undefined (a zero vector) is never selected, selects nothing, and maps to undefined, or
  to 0 where the result is a number.
- Where nothing is selected, attention falls on BOS: an aggregate takes the value found there,
  undefined or 0 as a rule. A BOS that is itself selected outweighs everything else.
- A causal model sees no later position, whatever the selector says.
- Functions of numbers are Tracr's MLPs, with their slopes between steps; selector widths too.

Not modelled is vagueness: where Tracr's steps are not sharp (a width of 9 is written as 0.56 of 9
and 0.44 of 8) the most likely value is taken. Nor are averages of different values of a
categorical expression: they are an error.
"""

import functools
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
from jaxtyping import Array, Bool, Int, Num
from tracr.compiler import nodes
from tracr.craft import bases, transformers
from tracr.rasp import rasp

from interpbench_jax.cases import Case
from interpbench_jax.compiler.tracr_stages import TracrModel
from interpbench_jax.compiler.variables import Variable

# Rows computed at once, fewer with many masks; bounds the memory that attention takes.
_CHUNK, _MASKS = 4_096, 32
_ONE = bases.BasisDirection("one")

Expressions = dict[str, Array]
"""The expressions on one input by label, `[pos]` each, BOS first."""


class Step(NamedTuple):
    """How one expression comes about.

    Attributes:
      label: Tracr's name, as in `Variable.labels`.
      operation: what is done with the arguments and the step's tables.
      args: labels of what it reads.
    """

    label: str
    operation: Literal["tokens", "indices", "lookup", "mlp", "linear", "select", "mean", "count"]
    args: tuple[str, ...] = ()


@dataclass(frozen=True)
class RaspArrays:
    """A program as lookup tables.

    Attributes:
      steps: in an order in which they can be computed; the last one is the output.
      tables: what defines each step, by its label.
      causal: whether attention looks back only.
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


def evaluate(program: RaspArrays, inputs: Int[Any, "batch length"]) -> Num[Array, "batch length"]:
    """What the program says, by the rules of its compiled model.

    Args:
      program: the tabulated program.
      inputs: indices into the case's vocabulary, without BOS.

    Returns:
      Indices of output values, as `compiled_labels` gives them (0 where the program is undefined),
      or the numbers themselves.

    Raises:
      ValueError: an aggregate would average different values of a categorical expression.
    """
    return _checked(*_say(*_parts(program), jnp.asarray(inputs)))


def interchange(
    program: RaspArrays,
    variables: Sequence[Variable],
    base: Int[Any, "pair length"],
    source: Int[Any, "pair length"],
    sets: Bool[np.ndarray, "intervention variable"] | None = None,
) -> Num[Array, "intervention pair length"]:
    """What the program says on the base, under the interchange of each variable, and of all.

    The values of a variable are taken from the run on the source, and all that depends on them is
    computed anew. The first intervention does nothing; the last takes everything from the source.

    Args:
      program: the tabulated program.
      variables: those of the compiled model.
      base: indices into the case's vocabulary, without BOS.
      source: as `base`.
      sets: the variables to be interchanged together instead.

    Raises:
      ValueError: an aggregate would average different values of a categorical expression.
    """
    held = [[step.label in variable.labels for step in program.steps] for variable in variables]
    default = [[False] * len(program.steps), *held, [True] * len(program.steps)]
    masks = jnp.array(default if sets is None else sets @ np.array(held))
    rows = jnp.asarray(base), jnp.asarray(source)
    said = _checked(*_say(*_parts(program), *rows, masks))
    return said.swapaxes(0, 1)


def _parts(program: RaspArrays) -> tuple[tuple[Step, ...], bool, bool, Any]:
    return program.steps, program.causal, program.categorical, program.tables


@functools.partial(jax.jit, static_argnames=("steps", "causal", "categorical"))
def _say(
    steps: tuple[Step, ...],
    causal: bool,
    categorical: bool,
    tables: Any,
    base: Array,
    source: Array | None = None,
    masks: Array | None = None,
) -> tuple[Array, dict[str, Array]]:
    """Outputs after BOS, of each mask if there are some, and which expressions were averaged."""
    run = functools.partial(_run, steps, causal, tables)

    def say(row: Array, *swap: Any) -> tuple[Array, dict[str, Array]]:
        values, mixed = run(row, *swap)
        said = values[steps[-1].label][1:]
        # Undefined is 0, as the argmax of a zero vector is.
        return jnp.maximum(said, 0) if categorical else said, mixed

    def say_all(rows: tuple[Array, Array]) -> tuple[Array, dict[str, Array]]:
        there, _ = run(rows[1])
        return jax.vmap(lambda mask: say(rows[0], there, mask))(masks)

    each, rows = (say, base) if source is None else (say_all, (base, source))
    at_once = _CHUNK if masks is None else max(1, _CHUNK * _MASKS // max(_MASKS, len(masks)))
    said, mixed = jax.lax.map(each, rows, batch_size=at_once)
    return said, jax.tree.map(jnp.any, mixed)


def _checked(said: Array, mixed: dict[str, Array]) -> Array:
    if averaged := [label for label, happens in mixed.items() if happens]:
        raise ValueError(
            f"different values would be averaged in {averaged}; run the compiled model instead"
        )
    return said


def _run(
    steps: tuple[Step, ...],
    causal: bool,
    tables: Any,
    row: Int[Array, " length"],
    there: Expressions | None = None,
    swapped: Bool[Array, " step"] | None = None,
) -> tuple[Expressions, dict[str, Bool[Array, ""]]]:
    """All expressions on one input, the swapped ones from `there`; which aggregates averaged."""
    values: Expressions = {}
    mixed: dict[str, Array] = {}
    for number, step in enumerate(steps):
        args, table = [values[label] for label in step.args], tables[step.label]
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
            selected = _selected(args[0], args[1], table[0], causal)
            if step.operation == "count":
                here = selected[:, 1:].sum(1).at[0].set(-1)  # at BOS an MLP clears it
            elif step.operation == "mean":
                here = jnp.where(selected, args[2], 0).sum(1) / selected.sum(1)
            else:
                here = jnp.where(selected, args[2], -1).max(1)
                least = jnp.where(selected, args[2], jnp.iinfo(jnp.int32).max).min(1)
                mixed[step.label] = (least != here).any()
        if there is not None and swapped is not None:
            here = jnp.where(swapped[number], there[step.label], here)
        values[step.label] = here
    return values, mixed


def _selected(
    keys: Int[Array, " pos"], queries: Int[Array, " pos"], table: Array, causal: bool
) -> Bool[Array, "pos key"]:
    """Where each position attends; BOS alone where it selects nothing, or BOS too."""
    selected = table[queries[:, None], keys[None, :]]
    if causal:
        selected &= np.tri(len(keys), dtype=bool)
    others = selected.at[:, 0].set(False)
    to_bos = selected[:, 0] | ~others.any(1)
    return jnp.where(to_bos[:, None], np.arange(len(keys))[None] == 0, others)


def _steps(tracr: TracrModel, case: Case, node: Any) -> Iterator[tuple[Any, ...]]:
    """The steps of one node of the graph, each with its tables; none for a selector."""
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
    """What a categorical expression can be; tuples too."""
    return [direction.value for direction in tracr.graph.nodes[expr.label][nodes.OUTPUT_BASIS]]


def _table(tracr: TracrModel, expr: Any) -> np.ndarray:
    """A function's results for all values of its arguments, numbers or places."""
    domains = [_values(tracr, arg) for arg in expr.children]
    results = [expr.f(*values) for values in itertools.product(*domains)]
    if rasp.is_categorical(expr):
        places = {value: place for place, value in enumerate(_values(tracr, expr))}
        results = [places.get(result, -1) for result in results]
    return _with_undefined(np.reshape(results, [len(domain) for domain in domains]), expr)


def _with_undefined(table: np.ndarray, expr: rasp.SOp) -> np.ndarray:
    """Appends what becomes of undefined arguments, which have index -1."""
    if rasp.is_numerical(expr):
        return np.pad(table.astype(np.float32), (0, 1))
    return np.pad(table.astype(np.int32), (0, 1), constant_values=-1)


def _selector(tracr: TracrModel, select: rasp.Select) -> np.ndarray:
    """Whether a query value, by row, selects a key value; the last ones are for undefined."""
    keys, queries = _values(tracr, select.keys), _values(tracr, select.queries)
    table = [[bool(select.predicate(key, query)) for key in keys] for query in queries]
    return np.pad(np.array(table), (0, 1))


def _mlp(
    block: transformers.MLP, label: str, written: Sequence[bases.BasisDirection]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Slopes and offsets of the hidden units of a function of one number, and what they write.

    Args:
      block: the MLP.
      label: of the number.
      written: the directions that are wanted of what it writes.
    """
    places = block.fst.input_space.index_by_direction
    slope = block.fst.matrix[places[bases.BasisDirection(label)]]
    offset = block.fst.matrix[places[_ONE]]
    out = block.snd.matrix[:, [block.snd.output_space.index_by_direction[d] for d in written]]
    return slope.astype(np.float32), offset.astype(np.float32), out.astype(np.float32)
