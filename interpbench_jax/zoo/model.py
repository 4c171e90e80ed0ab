"""A trained model together with what is known about it."""

from dataclasses import dataclass, field
from typing import Any

from interpbench_jax.model import Circuit, Graph, Params, TransformerConfig


@dataclass(frozen=True, kw_only=True)
class AlignedVariable:
    """A high-level variable and the node of the trained model that holds it.

    Attributes:
      values: labels of the RASP expressions.
      compiled_node: the node that writes them in the compiled model.
      node: the node of the trained model.
    """

    values: tuple[str, ...]
    compiled_node: str
    node: str

    @property
    def name(self) -> str:
        """The values, joined."""
        return "+".join(self.values)


@dataclass(frozen=True, kw_only=True)
class BenchmarkModel:
    """A transformer with a known circuit.

    Attributes:
      case: name of the case it was trained on.
      params: weights.
      config: their shape.
      variables: what its aligned nodes hold.
      circuit: the ground truth.
      card: how it was trained, with what result, when and with which versions; shares under
        `card["metrics"]` are fractions.
    """

    case: str
    params: Params = field(repr=False)
    config: TransformerConfig
    variables: tuple[AlignedVariable, ...]
    circuit: Circuit = field(repr=False)
    card: dict[str, Any] = field(repr=False)

    @property
    def graph(self) -> Graph:
        """Writers and readers of the model."""
        return self.circuit.graph

    @property
    def min_length(self) -> int | None:
        """Length of the shortest sequences it was trained on; none if all had full length."""
        return self.card.get("config", {}).get("min_length")

    @property
    def same_size(self) -> bool:
        """Whether it is as large as the compiled model."""
        return self.card.get("config", {}).get("same_size", False)
