"""Any algorithm as a training problem: named variables, each a pure function of those before it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Num

from interpbench_jax.model import Graph, TransformerConfig
from interpbench_jax.model.indices import check_indices, check_same_lengths
from interpbench_jax.siit.problem import SiitProblem

Tokens = Int[Array | np.ndarray, "pair pos"]
Variable = Callable[[Array, Mapping[str, Array]], Array]
"""`(tokens, values of earlier variables) -> value`, for one sequence, in `jax.numpy`: tokens and
values are `[pos]`. What it returns is `[pos]`, too, or a single value for all positions."""


@dataclass(frozen=True, eq=False)
class CausalModel:
    """What a trained model shall do, and by which intermediate values.

    Compared and hashed by identity, so that it can be a static argument of `jit`.

    Attributes:
      variables: in an order in which each depends on tokens and earlier ones only.
      output: what the algorithm says: labels (integers or booleans), or values (floats).

    Example:
      Is the first of two digits larger?

      >>> import jax.numpy as jnp
      >>> from interpbench_jax.siit.causal_model import CausalModel, interchange_targets
      >>> larger = CausalModel(
      ...     variables={
      ...         "first": lambda tokens, values: tokens[0],
      ...         "second": lambda tokens, values: tokens[1],
      ...     },
      ...     output=lambda tokens, values: values["first"] > values["second"],
      ... )
      >>> targets = interchange_targets(larger, jnp.array([[7, 2]]), jnp.array([[1, 5]]))
      >>> targets[:, 0, 1].tolist()  # 7 > 2, then 1 > 2, 7 > 5, and 1 > 5
      [1, 0, 1, 0]
    """

    variables: Mapping[str, Variable]
    output: Variable

    def __post_init__(self) -> None:
        """Takes a copy of the variables that nobody can change."""
        if not self.variables:
            raise ValueError("a causal model needs at least one variable")
        object.__setattr__(self, "variables", MappingProxyType(dict(self.variables)))

    def values(
        self,
        tokens: Int[Array, " pos"],
        instead: Mapping[str, Array] | None = None,
        chosen: Bool[Array, " variable"] | None = None,
    ) -> dict[str, Array]:
        """The value of every variable on one sequence.

        Args:
          tokens: of the sequence.
          instead: values of all variables on another one.
          chosen: the variables that take theirs from there; those after them see it.
        """
        found: dict[str, Array] = {}
        for place, (name, variable) in enumerate(self.variables.items()):
            value = _everywhere(name, variable(tokens, dict(found)), tokens)
            if instead is not None and chosen is not None:
                value = jnp.where(chosen[place], instead[name], value)
            found[name] = value
        return found

    def say(
        self, tokens: Int[Array, " pos"], values: Mapping[str, Array] | None = None
    ) -> Num[Array, " pos"]:
        """The output on one sequence, given the variables' values or with their own.

        Labels are `int32`, values `float32`.
        """
        values = self.values(tokens) if values is None else values
        said = _everywhere("output", self.output(tokens, dict(values)), tokens)
        return said.astype(jnp.float32 if jnp.issubdtype(said.dtype, jnp.floating) else jnp.int32)


def interchange_targets(
    causal_model: CausalModel,
    base: Tokens,
    source: Tokens,
    *,
    sets: Bool[Array | np.ndarray, "intervention variable"] | None = None,
) -> Num[Array, "intervention pair pos"]:
    """What the causal model says on the base, under the interchange of each variable, and of all.

    Args:
      causal_model: the algorithm.
      base: token ids.
      source: token ids of the inputs from which variables take their values.
      sets: per intervention, which of the variables are interchanged together. By default the
        first does nothing, then comes each variable alone, and the last takes everything from the
        source: what the algorithm says there.

    Raises:
      ValueError: base and source differ in shape, the sets are of other variables, or a variable
        is no array over positions.
    """
    n_variables = len(causal_model.variables)
    if base.shape != source.shape:
        raise ValueError(f"base and source must have one shape, got {base.shape}, {source.shape}")
    if sets is not None and sets.shape[1] != n_variables:
        raise ValueError(f"sets of {sets.shape[1]} variables, but the model has {n_variables}")
    asked = jnp.eye(n_variables + 1, n_variables, -1, bool) if sets is None else jnp.asarray(sets)
    base, source = jnp.asarray(base), jnp.asarray(source)

    def under(tokens: Array, instead: Mapping[str, Array], chosen: Array) -> Array:
        return causal_model.say(tokens, causal_model.values(tokens, instead, chosen))

    there = jax.vmap(causal_model.values)(source)
    over_pairs = jax.vmap(under, (0, 0, None))
    said = jax.vmap(over_pairs, (None, None, 0))(base, there, asked)
    if sets is not None:
        return said
    return jnp.concatenate([said, jax.vmap(causal_model.say)(source, there)[None]])


def problem_from_causal_model(
    model: CausalModel,
    alignment: Mapping[str, str],
    config: TransformerConfig,
    base: Tokens,
    source: Tokens,
    positions: Float[Array | np.ndarray, "*pair pos"] | None = None,
) -> SiitProblem:
    """Asks a causal model for all targets; the result is all that `train_siit` needs.

    Args:
      model: the algorithm.
      alignment: for each variable the head or MLP (`a0.h1`, `m0`) that shall hold it. Variables
        left out are not interchanged. Every other head and MLP is free: nothing may flow through.
      config: shape of the transformer to be trained.
      base: token ids; `SiitProblem.split` tells which of the pairs are not trained on.
      source: token ids of the inputs from which variables take their values.
      positions: weight of each position, the same for all pairs or each pair's own; 1 by default.

    Raises:
      ValueError: an unknown variable or node, two variables at one node, tokens or labels that the
        transformer does not have, or a source that is padded where its base is not.
    """
    graph = Graph.of(config)
    _check_alignment(model, alignment, graph)
    for name, tokens in (("base", base), ("source", source)):
        check_indices(f"{name} has token", tokens, config.d_vocab)
    check_same_lengths("source", source, base, config.pad)
    said = interchange_targets(model, base, source)
    if jnp.issubdtype(said.dtype, jnp.integer):
        check_indices("the algorithm has label", said, config.d_vocab_out)
    elif config.d_vocab_out != 1:
        raise ValueError(f"a model of values has one output, d_vocab_out is {config.d_vocab_out}")
    names = list(model.variables)
    free = [node for node in graph.writers[1:] if node not in alignment.values()]
    weights = jnp.ones(base.shape) if positions is None else jnp.asarray(positions, jnp.float32)
    return SiitProblem(
        base=jnp.asarray(base),
        source=jnp.asarray(source),
        base_target=said[0],
        source_target=said[-1],
        variable_targets=said[jnp.array([1 + names.index(name) for name in alignment])],
        variable_nodes=jnp.asarray(graph.one_hot(list(alignment.values()))),
        free_nodes=jnp.asarray(graph.one_hot(free)),
        positions=jnp.broadcast_to(weights, base.shape),
    )


def _everywhere(name: str, value: Array, tokens: Array) -> Array:
    if jnp.shape(value) not in ((), tokens.shape):
        raise ValueError(
            f"{name} has shape {jnp.shape(value)}, expected one value per position, "
            f"{tokens.shape}, or a single one"
        )
    return jnp.broadcast_to(jnp.asarray(value), tokens.shape)


def _check_alignment(model: CausalModel, alignment: Mapping[str, str], graph: Graph) -> None:
    nodes = graph.writers[1:]
    for kind, given, known in (
        ("variable", alignment.keys(), model.variables),
        ("head or MLP", alignment.values(), nodes),
    ):
        unknown = [name for name in given if name not in known]
        if unknown:
            raise ValueError(f"no {kind} {', '.join(unknown)}; there are {', '.join(known)}")
    if not alignment:
        raise ValueError("no variable is aligned with a node")
    shared = {node for node in alignment.values() if list(alignment.values()).count(node) > 1}
    if shared:
        raise ValueError(f"a node holds one variable; {', '.join(sorted(shared))} has several")
