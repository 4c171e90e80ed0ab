"""An algorithm as named variables, each a pure function of the input and of earlier variables."""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Num

from interpbench_jax.model import Circuit, Graph

INPUT, OUTPUT = "input", "output"
TOKENS = "tokens"
"""The name under which a variable reads the input."""

Tokens = Int[Array | np.ndarray, "pair pos"]
Masks = Num[Array | np.ndarray, "intervention writer _"]
Variable = Callable[..., Array]
"""Computes a variable for one sequence, in `jax.numpy`. Its parameters are named after what it
reads: `tokens` or earlier variables, each `[pos]`. It returns `[pos]`, or one value for all
positions."""


class Read(NamedTuple):
    """One parameter of a variable.

    Attributes:
      parameter: its name.
      parent: `input` or the variable that it reads.
      reader: the reader of the graph through which it is read.
    """

    parameter: str
    parent: str
    reader: str


@dataclass(frozen=True, eq=False)
class CausalModel:
    """The algorithm that a model is trained to implement, with its intermediate variables.

    Every variable is a writer and reads the variables that its parameters are named after. A
    parameter `x_q`, `x_k` or `x_v` reads variable `x` through the query, key or value input of the
    head that will hold the variable (`tokens_q` reads the tokens likewise); other parameters are
    read through all of its inputs.

    A model is compared and hashed by identity, so it can be a static argument of `jit`.

    Attributes:
      variables: functions by name, ordered so that each reads only the tokens and earlier ones.
      output: computes the answer; a function like the variables. It returns labels (integers or
        booleans) or values (floats).

    Raises:
      ValueError: there is no variable, a name is reserved, or a parameter names neither the tokens
        nor an earlier variable.

    Example:
      Is the first of two digits larger?

      >>> import jax.numpy as jnp
      >>> from interpbench_jax.tasks.causal import CausalModel
      >>> larger = CausalModel(
      ...     variables={
      ...         "first": lambda tokens: tokens[0],
      ...         "second": lambda tokens: tokens[1],
      ...     },
      ...     output=lambda first, second: first > second,
      ... )
      >>> larger.graph.writers, larger.graph.readers
      (('input', 'first', 'second'), ('first', 'second', 'output'))
      >>> nothing, first = jnp.zeros((2, 3, 3)).at[1, 1].set(1)  # patch `first` everywhere
      >>> base, source = jnp.array([[7, 2]]), jnp.array([[1, 5]])
      >>> larger.answers(base, source, jnp.stack([nothing, first]))[:, 0, 1].tolist()  # 7>2, 1>2
      [1, 0]
    """

    variables: Mapping[str, Variable]
    output: Variable

    def __post_init__(self) -> None:
        """Makes an immutable copy of the variables, and checks what they read."""
        if not self.variables:
            raise ValueError("a causal model needs at least one variable")
        object.__setattr__(self, "variables", MappingProxyType(dict(self.variables)))
        for name in self.variables:
            if name in (INPUT, OUTPUT, TOKENS):
                raise ValueError(f"a variable cannot be named {name!r}")
        _ = self.reads  # raises if a parameter is unknown

    @cached_property
    def reads(self) -> Mapping[str, tuple[Read, ...]]:
        """What every variable and the output read."""
        found: dict[str, tuple[Read, ...]] = {}
        for name, function in {**self.variables, OUTPUT: self.output}.items():
            known = {TOKENS: INPUT, **{earlier: earlier for earlier in found}}
            found[name] = tuple(
                _read(name, p, known) for p in inspect.signature(function).parameters
            )
        return MappingProxyType(found)

    @cached_property
    def graph(self) -> Graph:
        """The writers are the input and the variables; the readers their inputs and the output."""
        readers: list[str] = []
        n_before: list[int] = []
        for place, (name, reads) in enumerate(self.reads.items()):
            own = list(dict.fromkeys(read.reader for read in reads)) or [name]
            readers += own
            n_before += [place + 1] * len(own)
        return Graph((INPUT, *self.variables), tuple(readers), tuple(n_before))

    @cached_property
    def circuit(self) -> Circuit:
        """The edges of the algorithm: from each writer to the inputs that read it."""
        reads = [read for own in self.reads.values() for read in own]
        return Circuit(self.graph, frozenset((read.parent, read.reader) for read in reads))

    def run(
        self,
        tokens: Int[Array, " pos"],
        sources: Sequence[Mapping[str, Array]] = (),
        mask: Num[Array, "writer reader"] | None = None,
    ) -> tuple[Num[Array, " pos"], dict[str, Array]]:
        """The answer on one sequence, and the value of every writer.

        Args:
          tokens: token ids of the sequence.
          sources: values of all writers on other sequences, as this function returns them.
          mask: for each edge, 0 or the number (from 1) of the source whose value the reader sees.

        Returns:
          The answer (`int32` labels or `float32` values), and the values by writer. They include
          values that the mask hides from all readers.
        """
        graph = self.graph
        values: dict[str, Array] = {INPUT: tokens}
        result = tokens
        for name, function in {**self.variables, OUTPUT: self.output}.items():
            seen = {}
            for read in self.reads[name]:
                value = values[read.parent]
                if mask is not None:
                    place = graph.writer_index(read.parent), graph.reader_index(read.reader)
                    for number, source in enumerate(sources, start=1):
                        value = jnp.where(mask[place] == number, source[read.parent], value)
                seen[read.parameter] = value
            result = _at_every_position(name, function(**seen), tokens)
            values[name] = result
        del values[OUTPUT]
        is_number = jnp.issubdtype(result.dtype, jnp.floating)
        return result.astype(jnp.float32 if is_number else jnp.int32), values

    def answers(
        self, base: Tokens, source: Int[Array | np.ndarray, "*sources pair pos"], masks: Masks
    ) -> Num[Array, "intervention pair pos"]:
        """The algorithm's answers on the base under patches of its edges.

        Args:
          base: token ids.
          source: token ids of the inputs that patched edges take their values from; has a leading
            axis if there are several sources.
          masks: per intervention, 1 at the edges that are patched; with several sources, the number
            of the source, from 1. Entries that are not edges have no effect. `[intervention,
            writer, 1]` patches a writer's output for all its readers.

        Raises:
          ValueError: shapes do not fit.
        """
        graph = self.graph
        sources = source[None] if source.ndim == 2 else source
        if sources.shape[1:] != base.shape:
            raise ValueError(f"source has shape {source.shape}, expected that of base {base.shape}")
        if masks.shape[1:] not in (graph.valid.shape, (graph.n_writers, 1)):
            raise ValueError(
                f"masks have shape {masks.shape}, expected [intervention, writer, reader] with "
                f"{graph.n_writers} writers and {graph.n_readers} readers"
            )

        masks = jnp.broadcast_to(jnp.asarray(masks), (len(masks), *graph.valid.shape))

        def pair(tokens: Array, others: Array) -> Array:
            given = [self.run(other)[1] for other in others]
            return jax.vmap(lambda mask: self.run(tokens, given, mask)[0])(masks)

        return jax.vmap(pair, (0, 1), 1)(jnp.asarray(base), jnp.asarray(sources))

    def keeping(self, names: Iterable[str]) -> "CausalModel":
        """The same algorithm with fewer variables; readers of a removed variable compute it.

        Args:
          names: the variables to keep, in any order.

        Raises:
          ValueError: a name is unknown, or no name is given.
        """
        kept = set(names)
        if unknown := sorted(kept - self.variables.keys()):
            raise ValueError(
                f"no variable {', '.join(unknown)}; there are {', '.join(self.variables)}"
            )
        inlined: dict[str, Variable] = {}
        for name, function in {**self.variables, OUTPUT: self.output}.items():
            inside = {
                read.parameter: (inlined[read.parent], read.reader.partition("<")[2].strip(">"))
                for read in self.reads[name]
                if read.parent != INPUT and read.parent not in kept
            }
            inlined[name] = _with_inlined(function, inside, self.variables) if inside else function
        return CausalModel(
            {name: inlined[name] for name in self.variables if name in kept}, inlined[OUTPUT]
        )


def _read(variable: str, parameter: str, known: Mapping[str, str]) -> Read:
    """What a parameter of a variable reads."""
    if parameter in known:
        return Read(parameter, known[parameter], variable)
    name, _, kind = parameter.rpartition("_")
    if name in known and kind in ("q", "k", "v"):
        return Read(parameter, known[name], f"{variable}<{kind}>")
    raise ValueError(
        f"{variable} reads {parameter!r}; it can read {', '.join(known)}, and each of them as "
        "..._q, ..._k or ..._v"
    )


def _with_inlined(
    function: Variable, inside: Mapping[str, tuple[Variable, str]], variables: Iterable[str]
) -> Variable:
    """A function that computes some of the parameters of another function itself.

    Args:
      function: the function with the parameters.
      inside: for each parameter to compute, the function that computes it, and the input (`q`, `k`,
        `v`, or all) through which the arguments of that function are read.
      variables: names of all variables.
    """
    names = {name: name for name in (TOKENS, *variables)}

    def outer(parameter: str, kind: str) -> str:
        """The outer function's name for what an inner function reads as `parameter`."""
        base = parameter if parameter in names else parameter.rpartition("_")[0]
        return f"{base}_{kind}" if kind else base

    own = tuple(inspect.signature(function).parameters)
    parts = {
        parameter: (part, {p: outer(p, kind) for p in inspect.signature(part).parameters})
        for parameter, (part, kind) in inside.items()
    }

    def whole(**seen: Any) -> Array:
        def value(parameter: str) -> Array:
            if parameter not in parts:
                return seen[parameter]
            part, renamed = parts[parameter]
            return part(**{p: seen[o] for p, o in renamed.items()})

        return function(**{parameter: value(parameter) for parameter in own})

    read = [n for p in own for n in (parts[p][1].values() if p in parts else [p])]
    kind = inspect.Parameter.KEYWORD_ONLY
    signature = inspect.Signature([inspect.Parameter(name, kind) for name in dict.fromkeys(read)])
    whole.__signature__ = signature  # type: ignore[attr-defined]
    return whole


def _at_every_position(name: str, value: Any, tokens: Array) -> Array:
    if jnp.shape(value) not in ((), tokens.shape):
        raise ValueError(
            f"{name} has shape {jnp.shape(value)}, expected one value per position, "
            f"{tokens.shape}, or a single one"
        )
    return jnp.broadcast_to(jnp.asarray(value), tokens.shape)
