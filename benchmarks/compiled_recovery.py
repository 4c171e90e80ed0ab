"""Do methods recover the circuits of the compiled models, which are not trained?

For the compiled model of each case: the number of edges (q, k and v separate) of the true circuit;
how many of them are *used*, that is, change an answer on some input if patched alone; and for every
method, how many of the used edges are in the circuit of that size that it finds. For missed edges,
the size of their gradient when all edges are partly patched: the mean over 32 random masks, as a
share of the largest of all used edges. Results in `--out` are not computed again. Prints a Markdown
table, then one JSON line.

    python benchmarks/compiled_recovery.py --cases 3 13 --processes 2
"""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jaxtyping import Array, Float
from rich.progress import track

from interpbench_jax.benchmark import make_contrast, run_methods
from interpbench_jax.benchmark.execution import compiled_model
from interpbench_jax.benchmark.processes import in_processes
from interpbench_jax.benchmark.report.tables import to_markdown
from interpbench_jax.compiler import compile_case
from interpbench_jax.discovery import ContrastBatch, Loss, usual_loss
from interpbench_jax.discovery.objective import edge_masked_loss
from interpbench_jax.evaluation import edge_effects
from interpbench_jax.files import to_json, write_json
from interpbench_jax.model import Circuit
from interpbench_jax.model.graph import edge_name
from interpbench_jax.scoring.items import edge_items, scored_edges
from interpbench_jax.scoring.ties import places
from interpbench_jax.zoo import BenchmarkModel

CASES = (
    *("2", "3", "4", "7", "8", "11", "13", "18", "19", "20"),
    *("21", "26", "29", "33", "38", "42", "57", "62", "92", "108"),
)
METHODS = ("edge_patching", "acdc", "edge_pruning")


def main(
    cases: tuple[str, ...] = CASES,
    *,
    methods: tuple[str, ...] = METHODS,
    n_inputs: int = 1_000,
    processes: int = 1,
    out: Path = Path("out/compiled-recovery"),
) -> None:
    """Run methods on compiled models.

    Args:
      cases: names of cases.
      methods: names of methods.
      n_inputs: number of inputs.
      processes: how many cases to run at a time.
      out: directory for results, one file per case.
    """
    work = partial(_row, methods=methods, n_inputs=n_inputs, out=out)
    found = {
        row["case"]: row for row in track(in_processes(work, cases, processes), total=len(cases))
    }
    rows = [found[case] for case in cases]
    table = [
        {"case": row["case"], "true edges": row["true"], "used": row["used"]}
        | {method: row["used"] - len(row[method]["missed"]) for method in methods}
        for row in rows
    ]
    print(to_markdown(table), end="")
    print(to_json(rows))


def _row(
    case: str, *, methods: tuple[str, ...], n_inputs: int, out: Path
) -> Iterator[dict[str, Any]]:
    file = out / f"{case}.json"
    row = json.loads(file.read_text()) if file.exists() else {}
    missing = [method for method in methods if method not in row]
    if missing:
        row |= _recovered(case, missing, n_inputs)
        out.mkdir(parents=True, exist_ok=True)
        write_json(file, row)
    yield row


def _recovered(case: str, methods: list[str], n_inputs: int) -> dict[str, Any]:
    model, compiled = compiled_model(case), compile_case(case)
    truth = model.circuit
    batch = make_contrast(model, jax.random.key(0), n_inputs=n_inputs)
    assert batch.corrupted is not None
    edges = np.argwhere(truth.mask)
    effects = edge_effects(
        model.params,
        model.config,
        batch.clean,
        batch.corrupted,
        edges,
        categorical=compiled.categorical,
    )
    mask = np.zeros_like(truth.mask)
    mask[tuple(edges[np.asarray(effects) > 0].T)] = True
    used = Circuit.from_mask(model.graph, mask)
    row: dict[str, Any] = {"case": case, "true": len(truth), "used": len(used)}
    for finding in run_methods(model, methods, batch):
        # A ranking, without pruning: an unused edge may be on the only path to a used one.
        items = edge_items(finding.scores, used, level="qkv")
        best, _, _ = places(items.values, int(items.positive.sum()))
        left_out = np.argwhere(scored_edges(used.graph, "qkv"))[items.positive & ~best]
        missed = [(used.graph.writers[w], used.graph.readers[r]) for w, r in left_out]
        slopes = gradients(model, batch, usual_loss(finding.method, compiled.categorical))
        slopes /= slopes[used.mask].max()
        row[finding.method] = {
            "missed": {
                edge_name(writer, reader): float(
                    slopes[model.graph.writer_index(writer), model.graph.reader_index(reader)]
                )
                for writer, reader in missed
            },
            "seconds": round(finding.seconds, 3),
        }
    return row


def gradients(
    model: BenchmarkModel, batch: ContrastBatch, loss: Loss
) -> Float[np.ndarray, "writer reader"]:
    """Absolute gradient of the loss by each edge's mask, mean over random masks."""
    masked = edge_masked_loss(model.params, model.config, batch, loss)

    def at_random_mask(key: Array) -> Float[Array, "writer reader"]:
        return jnp.abs(jax.grad(masked)(jax.random.uniform(key, model.graph.valid.shape)))

    return np.array(jax.lax.map(at_random_mask, jax.random.split(jax.random.key(0), 32)).mean(0))


if __name__ == "__main__":
    tyro.cli(main)
