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
and 0.44 of 8) the most likely value is taken. So are no averages of several values of a
categorical expression, which are an error.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Num
from tracr.compiler import nodes
from tracr.craft import bases, transformers
from tracr.rasp import rasp

from interpbench_jax.cases import Case, Value
from interpbench_jax.compiler.tracr_stages import TracrModel
from interpbench_jax.compiler.variables import Variable

# Rows computed at once; bounds the memory that attention over long sequences takes.
_CHUNK = 4_096
_ONE = bases.BasisDirection("one")

Tables = dict[str, tuple[np.ndarray, ...]]
"""What defines each step, by its label."""


class Step(NamedTuple):
    """How one expression comes about.

    Attributes:
      label: its name, as in `Variable.values`.
      operation: what is done with the arguments and the step's tables.
      args: labels of what it reads.
    """

    label: str
    operation: Literal["tokens", "indices", "lookup", "mlp", "linear", "select", "mean", "count"]
    args: tuple[str, ...] = ()


class Plan(NamedTuple):
    """The program without its tables; hashable.

    Attributes:
      steps: in an order in which they can be computed.
      output: label of the program's output.
      causal: whether attention looks back only.
    """

    steps: tuple[Step, ...]
    output: str
    causal: bool


@dataclass(frozen=True)
class RaspArrays:
    """A program as lookup tables.

    Attributes:
      plan: what is computed from what.
      tables: the tables of each step.
    """

    plan: Plan
    tables: Tables


def rasp_on_arrays(tracr: TracrModel, case: Case) -> RaspArrays:
    """Tabulates the expressions of a program.

    Args:
      tracr: the compiled program.
      case: the case it was compiled from.
    """
    steps: list[Step] = []
    tables: Tables = {}
    waiting = set(tracr.graph.nodes)
    while waiting:
        ready = [n for n in tracr.graph.nodes if n in waiting]
        ready = [n for n in ready if waiting.isdisjoint(tracr.graph.predecessors(n))]
        for node in ready:
            for step, table in _steps(tracr, case, node):
                steps.append(step)
                tables[step.label] = table
        waiting -= set(ready)
    output = next(node for node, degree in tracr.graph.out_degree() if degree == 0)
    return RaspArrays(Plan(tuple(steps), output, case.causal), tables)


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
    values, mixed = _evaluate(program.plan, program.tables, jnp.asarray(inputs))
    _check_unmixed(mixed)
    return values


def interchange(
    program: RaspArrays,
    variables: Sequence[Variable],
    base: Int[Any, "pair length"],
    source: Int[Any, "pair length"],
) -> Num[Array, "intervention pair length"]:
    """What the program says on the base, under the interchange of each variable, and of all.

    The values of a variable are taken from the run on the source, and all that depends on them is
    computed anew. The first intervention does nothing; the last takes everything from the source.

    Args:
      program: the tabulated program.
      variables: those of the compiled model.
      base: indices into the case's vocabulary, without BOS.
      source: as `base`.

    Raises:
      ValueError: an aggregate would average different values of a categorical expression.
    """
    labels = [step.label for step in program.plan.steps]
    swapped = [[label in variable.values for label in labels] for variable in variables]
    masks = jnp.array([[False] * len(labels), *swapped, [True] * len(labels)])
    values, mixed = _interchange(
        program.plan, program.tables, jnp.asarray(base), jnp.asarray(source), masks
    )
    _check_unmixed(mixed)
    return values.swapaxes(0, 1)


@functools.partial(jax.jit, static_argnames="plan")
def _evaluate(plan: Plan, tables: Any, inputs: Array) -> tuple[Array, dict[str, Array]]:
    def run(row: Array) -> tuple[Array, dict[str, Array]]:
        values, mixed = _run(plan, tables, row)
        return _said(values[plan.output]), mixed

    return _in_chunks(run, inputs)


@functools.partial(jax.jit, static_argnames="plan")
def _interchange(
    plan: Plan, tables: Any, base: Array, source: Array, masks: Array
) -> tuple[Array, dict[str, Array]]:
    def run(pair: tuple[Array, Array]) -> tuple[Array, dict[str, Array]]:
        there, _ = _run(plan, tables, pair[1])

        def under(mask: Bool[Array, " step"]) -> tuple[Array, dict[str, Array]]:
            values, mixed = _run(plan, tables, pair[0], there, mask)
            return _said(values[plan.output]), mixed

        said, mixed = jax.vmap(under)(masks)
        return said, {label: flags.any() for label, flags in mixed.items()}

    return _in_chunks(run, (base, source))


def _in_chunks(run: Callable[[Any], Any], rows: Any) -> tuple[Array, dict[str, Array]]:
    values, mixed = jax.lax.map(run, rows, batch_size=_CHUNK)
    return values, {label: flags.any() for label, flags in mixed.items()}


def _said(values: Num[Array, " pos"]) -> Num[Array, " length"]:
    """The output after BOS; undefined is 0, as the argmax of a zero vector is."""
    return values[1:] if values.dtype == jnp.float32 else jnp.maximum(values[1:], 0)


def _check_unmixed(mixed: dict[str, Array]) -> None:
    for label, happens in mixed.items():
        if happens:
            raise ValueError(
                f"{label!r} selects positions with different values and would average them; "
                "run the compiled model instead"
            )


def _run(
    plan: Plan,
    tables: Any,
    row: Int[Array, " length"],
    there: dict[str, Array] | None = None,
    swapped: Bool[Array, " step"] | None = None,
) -> tuple[dict[str, Array], dict[str, Array]]:
    """All expressions on one input, `[pos]` each, BOS first.

    Args:
      plan: the program.
      tables: its tables.
      row: indices into the vocabulary.
      there: the expressions on another input.
      swapped: which of them to take from there.

    Returns:
      The expressions, and for each aggregate of categorical values whether it met several.
    """
    values: dict[str, Array] = {}
    mixed: dict[str, Array] = {}
    for number, step in enumerate(plan.steps):
        args, table = [values[label] for label in step.args], tables[step.label]
        match step.operation:
            case "tokens":
                here = jnp.pad(table[0][row], (1, 0), constant_values=-1)
            case "indices":
                here = jnp.arange(-1, len(row))
            case "lookup":
                here = table[0][tuple(args)]
            case "mlp":
                here = _through_mlp(args[0], *table)
            case "linear":
                here = table[0][0] * args[0] + table[0][1] * args[1]
            case "count":
                here = _selected(args[0], args[1], table[0], plan.causal)[:, 1:].sum(1)
                here = here.at[0].set(-1)  # an MLP clears it
            case "mean":
                selected = _selected(args[0], args[1], table[0], plan.causal)
                here = jnp.where(selected, args[2], 0).sum(1) / selected.sum(1)
            case "select":
                selected = _selected(args[0], args[1], table[0], plan.causal)
                here = jnp.where(selected, args[2], -1).max(1)
                least = jnp.where(selected, args[2], jnp.iinfo(args[2].dtype).max).min(1)
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


def _through_mlp(
    number: Float[Array, " pos"], slope: Array, offset: Array, out: Array
) -> Num[Array, " pos"]:
    hidden = jax.nn.relu(number[:, None] * slope[None] + offset[None])
    written = jnp.dot(hidden, out, precision="highest")
    return written if written.ndim == 1 else written.argmax(1)


def _steps(tracr: TracrModel, case: Case, node: str) -> list[tuple[Step, tuple[np.ndarray, ...]]]:
    """The steps of one node of the expression graph; none for a selector."""
    expr = tracr.graph.nodes[node][nodes.EXPR]
    if isinstance(expr, rasp.Selector):
        return []
    if isinstance(expr, rasp.TokensType):
        places = _places(tracr, expr)
        return [(Step(node, "tokens"), (np.array([places[t] for t in case.vocab], np.int32),))]
    if isinstance(expr, rasp.IndicesType):
        return [(Step(node, "indices"), ())]
    if isinstance(expr, rasp.LinearSequenceMap):
        factors = np.array([expr.fst_fac, expr.snd_fac], np.float32)
        return [(Step(node, "linear", (expr.fst.label, expr.snd.label)), (factors,))]
    if isinstance(expr, rasp.Map) and rasp.is_numerical(expr.inner):
        block = tracr.graph.nodes[node][nodes.MODEL_BLOCK]
        slope, offset, out = _mlp(block, expr.inner.label)
        out = out[:, 0] if rasp.is_numerical(expr) else out
        return [(Step(node, "mlp", (expr.inner.label,)), (slope, offset, out))]
    if isinstance(expr, rasp.Map | rasp.SequenceMap):
        args = [expr.inner] if isinstance(expr, rasp.Map) else [expr.fst, expr.snd]
        return [(Step(node, "lookup", tuple(a.label for a in args)), (_table(tracr, expr, args),))]
    if isinstance(expr, rasp.Aggregate):
        keys, queries = expr.selector.keys, expr.selector.queries
        operation = "mean" if rasp.is_numerical(expr) else "select"
        step = Step(node, operation, (keys.label, queries.label, expr.sop.label))
        return [(step, (_selector(tracr, expr.selector),))]
    if isinstance(expr, rasp.SelectorWidth):
        return _width(tracr, case, node, expr)
    raise ValueError(f"{node!r}: no rule for a {type(expr).__name__}")


def _values(tracr: TracrModel, expr: rasp.SOp) -> list[Value]:
    return [direction.value for direction in tracr.graph.nodes[expr.label][nodes.OUTPUT_BASIS]]


def _places(tracr: TracrModel, expr: rasp.SOp) -> dict[Value, int]:
    return {value: place for place, value in enumerate(_values(tracr, expr))}


def _table(tracr: TracrModel, expr: rasp.Map | rasp.SequenceMap, args: list) -> np.ndarray:
    """The function's result for all values of its arguments; the last entry is for undefined."""
    domains = [_values(tracr, arg) for arg in args]
    shape = [len(domain) + 1 for domain in domains]
    numerical, places = rasp.is_numerical(expr), _places(tracr, expr)
    table = np.zeros(shape, np.float32) if numerical else np.full(shape, -1, np.int32)
    for index in np.ndindex(*(len(domain) for domain in domains)):
        result = expr.f(*(domain[i] for domain, i in zip(domains, index, strict=True)))
        table[index] = result if numerical else places.get(result, -1)
    return table


def _selector(tracr: TracrModel, select: rasp.Select) -> np.ndarray:
    """Whether a query value, by row, selects a key value; the last ones are for undefined."""
    keys, queries = _values(tracr, select.keys), _values(tracr, select.queries)
    table = [[bool(select.predicate(key, query)) for key in keys] for query in queries]
    return np.pad(np.array(table), (0, 1))


def _mlp(block: transformers.MLP, label: str) -> tuple[np.ndarray, ...]:
    """Slopes and offsets of the hidden units of a function of one number, and what they write."""
    places = block.fst.input_space.index_by_direction
    slope = block.fst.matrix[places[bases.BasisDirection(label)]]
    offset = block.fst.matrix[places[_ONE]]
    return tuple(m.astype(np.float32) for m in (slope, offset, block.snd.matrix))


def _width(
    tracr: TracrModel, case: Case, node: str, expr: rasp.SelectorWidth
) -> list[tuple[Step, tuple[np.ndarray, ...]]]:
    """A head counts (it writes 1 / (1 + n)), and an MLP makes a value of that."""
    attention, mlp = tracr.graph.nodes[node][nodes.MODEL_BLOCK].blocks
    (direction,) = attention.w_ov.output_space.basis
    keys, queries = expr.selector.keys, expr.selector.queries
    count = Step(direction.name, "count", (keys.label, queries.label))
    slope, offset, out = _mlp(mlp, direction.name)
    columns = [
        mlp.snd.output_space.index_by_direction[d]
        for d in tracr.graph.nodes[node][nodes.OUTPUT_BASIS]
    ]
    shares = 1 / (1 + np.arange(case.n_ctx))
    written = np.maximum(shares[:, None] * slope + offset, 0) @ out[:, columns]
    if rasp.is_numerical(expr):
        table = np.append(written[:, 0], 0).astype(np.float32)
    else:
        table = np.append(written.argmax(1), -1).astype(np.int32)
    return [
        (count, (_selector(tracr, expr.selector),)),
        (Step(node, "lookup", (direction.name,)), (table,)),
    ]
