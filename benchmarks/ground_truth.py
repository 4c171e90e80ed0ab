"""Our circuits against the original's, edge by edge, with what patching each edge does.

Run: `.venv/bin/python benchmarks/ground_truth.py`. Prints a Markdown table: head-level
edges that only one side has, and edges of our circuits that no drawn pair of inputs uses. Compiles
all cases where they are not cached: minutes.
"""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from interpbench_jax.cases import case_names, sample_sequences
from interpbench_jax.compiler import CompiledCase, compile_case
from interpbench_jax.evaluation import edge_effects
from interpbench_jax.siit import align

REFERENCE = Path(__file__).parent.parent / "tests" / "golden" / "circuits.jsonl"


def used(compiled: CompiledCase, edges: set[tuple[str, str]], n_pairs: int) -> dict[str, float]:
    """Per head-level edge the largest share of outputs that patching its q, k or v changes."""
    graph = compiled.graph
    heads = {(w, r): (w, r.split("<")[0]) for w in graph.writers for r in graph.readers}
    indices = [
        (w, r)
        for w, r in graph.edges.tolist()
        if heads[graph.writers[w], graph.readers[r]] in edges
    ]
    if not indices:
        return {}
    drawn = sample_sequences(compiled.case, 2 * n_pairs, jax.random.key(1))
    tokens = jnp.asarray(compiled.codec.encode_indices(drawn))
    shares = edge_effects(
        compiled.params, compiled.config, tokens[:n_pairs], tokens[n_pairs:], np.array(indices)
    )
    found: dict[str, float] = {}
    for (w, r), share in zip(indices, np.asarray(shares), strict=True):
        name = "->".join(heads[graph.writers[w], graph.readers[r]])
        found[name] = max(found.get(name, 0.0), float(share))
    return found


def main(cases: tuple[str, ...] = (), *, n_pairs: int = 1_000) -> None:
    """Compare ground truths.

    Args:
      cases: names of cases; all where none is given.
      n_pairs: pairs of inputs over which edges are patched.
    """
    reference = {entry["case"]: entry for entry in map(json.loads, REFERENCE.open())}
    print("| case | edge | ours | original | outputs changed by patching it |")
    print("|---|---|---|---|---|")
    for name in cases or case_names():
        compiled = compile_case(name)
        back = {node: moved for moved, node in compiled.case.realign}
        theirs = {
            tuple(back.get(node, node) for node in edge)
            for edge in reference[name]["circuit_edges"]
        }
        ours = set(compiled.circuit.head_edges)
        assert len(align(compiled).circuit.head_edges) == len(ours)
        shares = used(compiled, ours | theirs, n_pairs)
        for edge in sorted(ours | theirs):
            share = shares["->".join(edge)]
            if edge in ours and edge in theirs and share > 0:
                continue
            sides = ("yes" if edge in side else "no" for side in (ours, theirs))
            print(
                f"| {name} | `{'->'.join(edge)}` | {' | '.join(sides)} | {share:.1%} |", flush=True
            )


if __name__ == "__main__":
    tyro.cli(main)
