"""Compares our circuits with the original's, edge by edge, and patches the edges that differ.

Run: `.venv/bin/python benchmarks/ground_truth.py`. Prints the table of
`docs/differing-edges.md`: head-level edges that only one of the two circuits has, and
edges of our circuits whose patch changes no answer on the drawn inputs. Takes a quarter of an hour.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from interpbench_jax.cases import case_names, sample_pairs
from interpbench_jax.compiler import CompiledCase, compile_case
from interpbench_jax.compiler.ground_truth import visible, written_after_bos
from interpbench_jax.evaluation import edge_effects
from interpbench_jax.model import Graph

REFERENCE = Path(__file__).parent.parent / "tests" / "golden" / "circuits.jsonl"

Edge = tuple[str, str]


def head_edges(graph: Graph, mask: np.ndarray) -> set[Edge]:
    """Names of the edges in a mask, q, k and v of a head merged."""
    merged = graph.to_head_level(mask & graph.valid)
    return {(graph.writers[w], graph.head_readers[r]) for w, r in np.argwhere(merged)}


def rows(compiled: CompiledCase, theirs: set[Edge], n_pairs: int) -> Iterator[str]:
    """Lines of the table for one case."""
    params, config, graph = compiled.params, compiled.config, compiled.graph
    ours = set(compiled.circuit.head_edges)
    drawn = sample_pairs(compiled.case, n_pairs, jax.random.key(1))
    base, source = (jnp.asarray(compiled.codec.encode_indices(x)) for x in drawn)

    # The readers that see differences between inputs at a position, and the effects of patches.
    written = np.asarray(written_after_bos(params, config, base))
    places = (written - written.mean(1, keepdims=True)).reshape(graph.n_writers, -1, config.d_model)
    about_tokens = head_edges(graph, visible(params, config, places))
    patched = graph.edges
    patched = np.array([e for e in patched if head_edges(graph, one(graph, e)) & (ours | theirs)])
    effects = np.zeros(graph.valid.shape)
    effects[tuple(patched.T)] = edge_effects(
        params, config, base, source, patched, categorical=compiled.categorical
    )
    by_head = graph.to_head_level(effects)

    for writer, reader in sorted(ours | theirs):
        edge = (writer, reader)
        share = by_head[graph.writer_index(writer), graph.head_readers.index(reader)]
        if edge in ours and edge in theirs and share > 0:
            continue
        carries = "tokens" if edge in about_tokens else "positions" if edge in ours else "nothing"
        sides = " | ".join("yes" if edge in side else "no" for side in (ours, theirs))
        name = compiled.case.name
        yield f"| {name} | `{writer}->{reader}` | {sides} | {carries} | {share:.1%} |"


def one(graph: Graph, edge: np.ndarray) -> np.ndarray:
    """A mask of a single edge."""
    mask = np.zeros(graph.valid.shape, bool)
    mask[tuple(edge)] = True
    return mask


def main(cases: tuple[str, ...] = (), *, n_pairs: int = 1_000) -> None:
    """Compare ground truths.

    Args:
      cases: names of cases; all if none is given.
      n_pairs: pairs of inputs on which edges are patched.
    """
    reference = {entry["case"]: entry for entry in map(json.loads, REFERENCE.open())}
    print("| case | edge | ours | original | carries | outputs changed by patching it |")
    print("|---|---|---|---|---|---|")
    for name in cases or case_names():
        compiled = compile_case(name)
        back = {node: moved for moved, node in compiled.case.realign}
        theirs = {
            (back.get(writer, writer), back.get(reader, reader))
            for writer, reader in reference[name]["circuit_edges"]
        }
        for row in rows(compiled, theirs, n_pairs):
            print(row, flush=True)
        jax.clear_caches()  # compiled programs of all cases take gigabytes


if __name__ == "__main__":
    tyro.cli(main)
