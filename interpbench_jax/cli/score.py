"""`interpbench score`."""

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from interpbench_jax.benchmark.plan import check_seed
from interpbench_jax.cli.output import OUT, need_some, print_line, print_table
from interpbench_jax.files import make_directory, to_json

_SCORES = {
    "edge_auroc": "edges",
    "edge_auroc_qkv": "edges q/k/v",
    "node_auroc": "nodes",
    "edge_ap": "AP",
    "cpr": "CPR",
    "cmd": "CMD",
    "faithfulness": "faithful",
}
_OF_SETS = {
    "found_edges": "edges",
    "found_precision": "precision",
    "found_recall": "recall",
    "found_f1": "F1",
    "found_accuracy": "accuracy",
    "faithfulness": "faithful",
}


def score(
    files: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="FILE...")],
    *,
    model: str | None = None,
    method: str | None = None,
    ablation: str | None = None,
    n_inputs: int | None = None,
    seed: int | None = None,
    selection: str = "usual",
    as_json: Annotated[bool, tyro.conf.arg(name="json")] = False,
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = OUT / "benchmark",
) -> None:
    """Evaluate scores and circuits from other tools, and add them to a results store.

    Reads graphs of EAP-IG and MIB (.json, .pt), scores by the names of edges (.csv with columns
    edge,score; .json), scores.npz of `interpbench discover`, and circuits (circuit.json; lists of
    edges, .json or .txt). Edges have the names of EAP-IG, auto-circuit or TransformerLens. Nothing
    in a file can run code.

    Scores get every score of the benchmark; circuits without scores get precision, recall, F1,
    accuracy, and the scores of running them. `interpbench report DIR` shows them with all other
    results of the store.

    Args:
      files: files, or directories to search. Directories written by `interpbench export` determine
        the model; for others give --model.
      model: the model that they belong to: a bundled model by name, or a directory.
      method: their name in results; by default the name of the file and the tool.
      ablation: source of patches when circuits are run: resample, mean, mean_per_position, zero or
        optimal; by default resample.
      n_inputs: inputs to run circuits on; by default as many as were exported, or 1000.
      seed: seed of the inputs; by default that of the export, or 0.
      selection: how scores become circuits: top_n takes the best edges (usual), greedy searches
        from the logits.
      as_json: print JSON instead of tables.
      out: directory of the results.
    """
    from interpbench_jax.benchmark.entries import enter
    from interpbench_jax.benchmark.findings import check_inputs, selection_of
    from interpbench_jax.benchmark.handed_in import entries_of, find_files, without_scores
    from interpbench_jax.benchmark.results_store import SCORES, Store

    need_some([str(file) for file in files], "file")
    selection_of("", selection)
    check_inputs(
        n_inputs=1 if n_inputs is None else n_inputs,
        ablation="zero" if ablation is None else ablation,
    )
    check_seed(0 if seed is None else seed)
    given = {"ablation": ablation, "n_inputs": n_inputs, "seed": seed}
    settings: dict[str, Any] = {name: v for name, v in given.items() if v is not None}
    entries = entries_of(find_files(files, model), method=method, selection=selection, **settings)
    make_directory(out)
    store, command = Store(out), "interpbench " + shlex.join(sys.argv[1:])
    with Console(stderr=True).status("") as status:
        rows = []
        for place, row in enumerate(enter(entries, store, command=command), start=1):
            status.update(f"{place} of {len(entries)}: {row['model']}, {row['method']}")
            rows.append(row)
    if as_json:
        columns = ("id", "model", "method", "selection", "ablation", "seed", "n_inputs", *SCORES)
        print(to_json([{name: row.get(name) for name in columns} for row in rows], indent=1))
        return
    _print_rows(rows)
    if missing := without_scores(files):
        names = ", ".join(str(folder) for folder in missing)
        print_line(f"exported models without scores, so far: {names}; run the script run.py there")
    print_line(f"show them with other results: interpbench report {out}")


def _print_rows(rows: list[dict[str, Any]]) -> None:
    ranked = [row for row in rows if row["selection"] != "given"]
    sets = [row for row in rows if row["selection"] == "given"]
    if ranked:
        headers = ("model", "method", "selection", *_SCORES.values())
        table = [
            (row["model"], row["method"], row["selection"], *_cells(row, _SCORES)) for row in ranked
        ]
        print_table("How well do scores find the true circuit? AUROC and more", headers, table)
    if sets:
        print_table(
            "Circuits as sets of edges, with q, k and v merged",
            ("model", "method", *_OF_SETS.values()),
            [(row["model"], row["method"], *_cells(row, _OF_SETS)) for row in sets],
        )


def _cells(row: dict[str, Any], names: dict[str, str]) -> tuple[str, ...]:
    values = (row.get(name) for name in names)
    return tuple(
        "" if value is None else f"{value:.0f}" if name == "found_edges" else f"{value:.3f}"
        for name, value in zip(names, values, strict=True)
    )
