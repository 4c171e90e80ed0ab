"""How the settings of edge-true training change how fast models become right.

Run: `.venv/bin/python benchmarks/edge_settings.py [--cases 11 18] [--out DIR]`. Trains a model by
the preset `edge-siit` with one setting changed at a time, for a given number of batches, and scores
it on test sequences as for a card: the worst variable's IIA, all edges outside at once, the worst
single edge, and the mean and the worst of random sets of edges; then the worst of random sets that
are patched at random positions. Seconds include compilation. Finished rows are kept in DIR and not
computed again. The last line printed is JSON.
"""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tyro
from kept import kept
from rich.console import Console
from rich.table import Table

from interpbench_jax.evaluation import certify
from interpbench_jax.files import make_directory, to_json
from interpbench_jax.siit import Member, SiitConfig, preset, train_siit
from interpbench_jax.tasks import Pairs
from interpbench_jax.zoo import prepare
from interpbench_jax.zoo.make import score_on_tests

VARIANTS: dict[str, dict[str, Any]] = {
    "preset": {},
    "no single rows": {"single_rows": 0.0},
    "single rows .2": {"single_rows": 0.2},
    "single rows .6": {"single_rows": 0.6},
    "outside rows .1": {"outside_rows": 0.1},
    "outside rows .4": {"outside_rows": 0.4},
    "last quarter refines": {"refine_batches": 500},
    "... single focus .5": {"refine_batches": 500, "single_focus": 0.5},
    "... and row focus .25": {"refine_batches": 500, "single_focus": 0.5, "row_focus": 0.25},
    "position rows .3": {"position_rows": 0.3},
    "learning rate .003": {"learning_rate": 0.003},
    "muon": {"optimizer": "muon"},
    "64 rows per batch": {"batch_size": 64},
}
_COLUMNS = {
    "batches": "batches",
    "seconds": "seconds",
    "iia_worst": "worst IIA",
    "inert": "all outside",
    "edge_single_worst": "worst edge",
    "edge_agreement": "sets, mean",
    "edge_agreement_worst": "sets, worst",
    "positions_worst": "at positions, worst",
}
# Pairs and runs for sets at positions.
_PAIRS, _RUNS = 2_000, 64_000
console = Console(width=140)  # of the table, also in a file


def main(
    cases: tuple[str, ...] = ("11", "18"),
    *,
    variants: tuple[str, ...] = tuple(VARIANTS),
    seeds: tuple[int, ...] = (0,),
    max_batches: int = 2_000,
    out: Path = Path("out/edge-settings"),
) -> None:
    """Measure.

    Args:
      cases: tasks to train on.
      variants: names of the changes.
      seeds: seeds of the models; figures are means over them.
      max_batches: batches after which training ends if the threshold is not reached.
      out: directory of finished rows.
    """
    unknown = set(variants) - set(VARIANTS)
    if unknown:
        raise SystemExit(f"unknown variants {sorted(unknown)}; known: {', '.join(VARIANTS)}")
    make_directory(out)
    rows = [
        {"case": case, "variant": name} | _row(case, name, seed, max_batches, out)
        for case in cases
        for name in variants
        for seed in seeds
    ]
    _print(rows)
    print(to_json(rows))


def _row(case: str, variant: str, seed: int, max_batches: int, out: Path) -> dict[str, float]:
    changes = {"max_batches": max_batches} | VARIANTS[variant]
    config = replace(preset("edge-siit", case), **changes)
    file = out / f"{case} {variant} {seed} {max_batches}.json"
    return kept(file, lambda: _trained(case, config, seed))


def _trained(case: str, config: SiitConfig, seed: int) -> dict[str, float]:
    member = Member(seed, config)
    task = prepare(case, (member,))
    start = time.perf_counter()
    result = train_siit(
        task.training, task.alignment.network, (member,), validation=task.validation
    )
    jax.block_until_ready(result.params)
    seconds = time.perf_counter() - start
    params = jax.tree.map(lambda leaf: leaf[0], result.params)
    scores = score_on_tests(params, task.task, task.alignment, task.test).metrics
    pairs = Pairs(
        *(np.asarray(x) for x in (task.test.base, task.test.source, task.test.position_weights))
    )
    found = certify(
        params,
        task.alignment.network,
        task.task,
        task.alignment,
        pairs,
        jax.random.key(1),
        n_pairs=_PAIRS,
        n_runs=_RUNS,
    ).positions
    return {
        "batches": config.batches_after(int(result.rounds[0])),
        "seconds": seconds,
        "positions_worst": float("nan") if found is None else found.worst,
    } | scores


def _print(rows: list[dict[str, Any]]) -> None:
    table = Table("case", "setting", *_COLUMNS.values())
    for case, variant in dict.fromkeys((row["case"], row["variant"]) for row in rows):
        same = [row for row in rows if (row["case"], row["variant"]) == (case, variant)]
        means = {name: sum(row[name] for row in same) / len(same) for name in _COLUMNS}
        cells = (
            f"{mean:.0f}" if name in ("batches", "seconds") else f"{100 * mean:.2f} %"
            for name, mean in means.items()
        )
        table.add_row(case, variant, *cells)
    console.print(table)


if __name__ == "__main__":
    tyro.cli(main)
