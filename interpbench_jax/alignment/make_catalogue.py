"""Makes the catalogue of cases: compiles every built-in case and records its sizes.

Run `python -m interpbench_jax.alignment.make_catalogue`. It takes minutes the first time, and
seconds when all cases are cached.
"""

import json
from dataclasses import asdict

from flax.traverse_util import flatten_dict

from interpbench_jax.alignment import align
from interpbench_jax.cases import case_names
from interpbench_jax.cases.catalogue import CATALOGUE, CatalogueEntry
from interpbench_jax.compiler import compile_case
from interpbench_jax.model.circuit import circuit_kind


def derive_entry(name: str) -> CatalogueEntry:
    """Compiles a case and returns its sizes."""
    compiled = compile_case(name)
    alignment = align(compiled)
    config, graph = alignment.network, alignment.graph
    return CatalogueEntry(
        kind=circuit_kind(alignment.circuit),
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
    entries = {name: asdict(derive_entry(name)) for name in case_names()}
    CATALOGUE.write_text(json.dumps(entries, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    _rebuild()
