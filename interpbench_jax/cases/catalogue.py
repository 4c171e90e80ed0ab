"""Sizes of every built-in case, so that listing them needs no compilation.

`catalogue.json` is made from the compiled cases by
`python -m interpbench_jax.alignment.make_catalogue`; a slow test compares the two.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from interpbench_jax.model.circuit import CircuitKind

CATALOGUE = Path(__file__).with_name("catalogue.json")


@dataclass(frozen=True, kw_only=True)
class CatalogueEntry:
    """Sizes of a case's compiled and trained model.

    `n_layers` and the attributes after it describe the trained model.

    Attributes:
      kind: kind of the circuit, see `circuit_kind`.
      compiled_params: number of weights of the compiled model.
      n_layers: number of layers.
      n_heads: heads per layer.
      d_model: width of the residual stream.
      n_variables: number of aligned nodes.
      n_nodes: nodes of the graph, input and logits included.
      n_edges: edges of the graph at head level, without `input->logits`.
      circuit_edges: edges of the true circuit at head level.
      circuit_edges_qkv: the same, with queries, keys and values counted separately.
    """

    kind: CircuitKind
    compiled_params: int
    n_layers: int
    n_heads: int
    d_model: int
    n_variables: int
    n_nodes: int
    n_edges: int
    circuit_edges: int
    circuit_edges_qkv: int

    @property
    def shape(self) -> str:
        """Layers x heads x width; cases of one shape can be trained in one compiled program."""
        return f"{self.n_layers}x{self.n_heads}x{self.d_model}"


def read_catalogue() -> dict[str, CatalogueEntry]:
    """Entries of the built-in cases by name; compiles nothing."""
    stored = json.loads(CATALOGUE.read_text("utf-8"))
    return {name: CatalogueEntry(**entry) for name, entry in stored.items()}
