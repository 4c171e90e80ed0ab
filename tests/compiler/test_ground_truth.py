"""The table of differences from the original's circuits is right."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from interpbench_jax.cases import Case, sample_pairs
from interpbench_jax.compiler import compile_case
from interpbench_jax.evaluation import edge_effects
from tests.golden_files import GOLDEN

REFERENCE = {
    entry["case"]: {tuple(edge) for edge in entry["circuit_edges"]}
    for entry in map(json.loads, (GOLDEN / "circuits.jsonl").read_text().splitlines())
}
TABLE = Path(__file__).parents[2] / "docs" / "differing-edges.md"


def rows_of(case: Case) -> dict[tuple[str, ...], list[str]]:
    """The rows of the table about one case: edge to (ours, original, carries, effect)."""
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in TABLE.read_text().splitlines()
        if line.startswith(f"| {case.name} |")
    ]
    return {tuple(row[1].strip("`").split("->")): row[2:] for row in cells}


def test_the_table_names_every_difference(each_case: Case) -> None:
    """It also states whether patching the edge in the compiled model changes outputs."""
    compiled = compile_case(each_case)
    moved_back = {new: old for old, new in each_case.realign}
    theirs = {tuple(moved_back.get(node, node) for node in e) for e in REFERENCE[each_case.name]}
    ours = set(compiled.circuit.head_edges)
    rows = rows_of(each_case)
    sides = {edge: (row[0] == "yes", row[1] == "yes") for edge, row in rows.items()}
    assert {e for e, (a, b) in sides.items() if a != b} == ours ^ theirs
    assert all(side == (edge in ours, edge in theirs) for edge, side in sides.items())

    graph = compiled.graph
    differing = [
        (w, r)
        for w, r in graph.edges.tolist()
        if (graph.writers[w], graph.readers[r].split("<")[0]) in ours ^ theirs
    ]
    if not differing:
        return
    pairs = sample_pairs(each_case, 500, jax.random.key(2))
    base, source = (jnp.asarray(compiled.codec.encode_indices(x)) for x in pairs)
    found = edge_effects(
        compiled.params,
        compiled.config,
        base,
        source,
        np.array(differing),
        categorical=compiled.categorical,
    )
    effects: dict[tuple[str, ...], float] = {}
    for (w, r), effect in zip(differing, found.tolist(), strict=True):
        edge = (graph.writers[w], graph.readers[r].split("<")[0])
        effects[edge] = max(effects.get(edge, 0.0), effect)
    for name, changed in effects.items():
        _, _, carries, shown = rows[name]
        assert (changed > 0) == (shown != "0.0%"), name
        assert (carries == "nothing") == (name not in ours), name
