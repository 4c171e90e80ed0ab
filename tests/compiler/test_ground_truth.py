"""The table of differences from the original's circuits is right."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from interpbench_jax.cases import Case, sample_pairs
from interpbench_jax.compiler import compile_case
from interpbench_jax.evaluation import edge_effects
from tests.golden_files import GOLDEN

Edge = tuple[str, str]

REFERENCE: dict[str, list[Edge]] = {
    entry["case"]: entry["circuit_edges"]
    for entry in map(json.loads, (GOLDEN / "circuits.jsonl").read_text().splitlines())
}
TABLE = Path(__file__).parents[2] / "docs" / "differing-edges.md"


def rows_of(case: Case) -> dict[Edge, list[str]]:
    """The rows of the table about one case: edge to (ours, original, carries, effect)."""
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in TABLE.read_text().splitlines()
        if line.startswith(f"| {case.name} |")
    ]
    edges = [row[1].strip("`").split("->") for row in cells]
    return {(writer, reader): row[2:] for (writer, reader), row in zip(edges, cells, strict=True)}


def circuits_of(case: Case) -> tuple[set[Edge], set[Edge]]:
    """Our circuit and the original's, by heads."""
    moved_back = {new: old for old, new in case.realign}
    theirs = {
        (moved_back.get(writer, writer), moved_back.get(reader, reader))
        for writer, reader in REFERENCE[case.name]
    }
    return set(compile_case(case).circuit.head_edges), theirs


def effects_of(case: Case, edges: set[Edge]) -> dict[Edge, float]:
    """Shares of changed outputs, on the pairs of `benchmarks/ground_truth.py`.

    A head's q, k and v are patched one at a time; the largest share counts.
    """
    compiled = compile_case(case)
    graph = compiled.graph
    every = [(graph.writers[w], graph.readers[r].split("<")[0]) for w, r in graph.edges]
    patched = [place for place, edge in enumerate(every) if edge in edges]
    effects: dict[Edge, float] = {}
    if not patched:
        return effects
    pairs = sample_pairs(case, 1_000, jax.random.key(1))
    base, source = (jnp.asarray(compiled.codec.encode_indices(x)) for x in pairs)
    found = edge_effects(
        compiled.params,
        compiled.config,
        base,
        source,
        np.asarray(graph.edges)[patched],
        categorical=compiled.categorical,
    )
    for place, effect in zip(patched, found.tolist(), strict=True):
        effects[every[place]] = max(effects.get(every[place], 0.0), effect)
    return effects


def test_the_table_names_every_difference(each_case: Case) -> None:
    """It also states how many outputs of the compiled model change if the edge is patched."""
    ours, theirs = circuits_of(each_case)
    rows = rows_of(each_case)
    sides = {edge: (row[0] == "yes", row[1] == "yes") for edge, row in rows.items()}
    assert {e for e, (a, b) in sides.items() if a != b} == ours ^ theirs
    assert all(side == (edge in ours, edge in theirs) for edge, side in sides.items())
    effects = effects_of(each_case, ours ^ theirs)
    assert effects.keys() == ours ^ theirs
    for edge, changed in effects.items():
        _, _, carries, shown = rows[edge]
        assert shown == f"{changed:.1%}", edge
        assert (carries == "nothing") == (edge not in ours), edge


@pytest.mark.slow
def test_the_table_names_every_edge_in_both_that_is_never_used(each_case: Case) -> None:
    ours, theirs = circuits_of(each_case)
    effects = effects_of(each_case, ours & theirs)
    assert effects.keys() == ours & theirs
    rows = {edge: row for edge, row in rows_of(each_case).items() if edge in ours & theirs}
    assert rows.keys() == {edge for edge, changed in effects.items() if changed == 0}
    for edge, (_, _, carries, shown) in rows.items():
        assert shown == "0.0%" and carries in ("positions", "tokens"), edge
