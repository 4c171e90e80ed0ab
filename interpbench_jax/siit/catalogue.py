"""Sizes of every built-in case, so that listing them needs no compilation.

`catalogue.json` is made from the compiled cases by `python -m interpbench_jax.siit.catalogue`; a
slow test compares the two.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["one MLP", "MLPs", "attention"]

_FILE = Path(__file__).with_name("catalogue.json")


@dataclass(frozen=True, kw_only=True)
class CatalogueEntry:
    """What a case compiles to and what is trained on it.

    Attributes:
      kind: `attention` if the circuit has a head; else `one MLP`, which any method finds, or
        several `MLPs`.
      compiled_params: numbers in the compiled model's weights.
      n_layers: of the trained model, as all that follows.
      n_heads: per layer.
      d_model: width of the residual stream.
      n_variables: aligned nodes.
      n_nodes: nodes of the graph, input and logits included.
      n_edges: edges of the graph at head level, without `input->logits`.
      circuit_edges: edges of the true circuit at head level.
      circuit_edges_qkv: with queries, keys and values apart.
    """

    kind: Kind
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
        """Cases of one shape can be trained in one compiled program."""
        return f"{self.n_layers} x {self.n_heads}, width {self.d_model}"


def read_catalogue() -> dict[str, CatalogueEntry]:
    """Entries of the built-in cases by name; compiles nothing."""
    stored = json.loads(_FILE.read_text())
    return {name: CatalogueEntry(**entry) for name, entry in stored.items()}


def derive_entry(name: str) -> CatalogueEntry:
    """Compiles a case and takes its sizes."""
    from flax.traverse_util import flatten_dict

    from interpbench_jax.compiler import compile_case
    from interpbench_jax.siit.alignment import align

    compiled = compile_case(name)
    alignment = align(compiled)
    nodes = alignment.circuit.nodes
    config, graph = alignment.config, alignment.graph
    n_mlps = sum(node.startswith("m") for node in nodes)
    has_heads = any(node.startswith("a") for node in nodes)
    return CatalogueEntry(
        kind="attention" if has_heads else "MLPs" if n_mlps > 1 else "one MLP",
        compiled_params=sum(weight.size for weight in flatten_dict(compiled.params).values()),
        n_layers=config.n_layers,
        n_heads=config.n_heads,
        d_model=config.d_model,
        n_variables=len(set(alignment.nodes)),
        n_nodes=graph.n_nodes,
        n_edges=int(graph.head_valid.sum()) - 1,
        circuit_edges=len(alignment.circuit.head_edges),
        circuit_edges_qkv=len(alignment.circuit),
    )


def _rebuild() -> None:
    from interpbench_jax.cases import case_names

    entries = {}
    for name in case_names():
        entries[name] = asdict(derive_entry(name))
        print(name, entries[name], flush=True)
    _FILE.write_text(json.dumps(entries, indent=1) + "\n")


if __name__ == "__main__":
    _rebuild()
