"""The main table: AUROC of five methods on the 16 cases."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from interpbench_jax.benchmark.paper.published import published
from interpbench_jax.scoring import Comparison, compare

if TYPE_CHECKING:
    import polars as pl

METHODS: tuple[str, ...] = tuple(published()["methods"])
"""The methods of the paper's main table."""


def auroc_rows(results: "pl.DataFrame") -> list[dict[str, Any]]:
    """Combines results with the paper's.

    Args:
      results: results of `METHODS`, with columns `case`, `method`, `staircase` and `edge_auroc`.

    Returns:
      A row per case and method: AUROC by the paper's staircase (`staircase`) and by the ranking
      (`ranking`), and the paper's value (`published`). Failed runs are left out.
    """
    paper = published()
    in_paper = {
        (case, method): value
        for case, values in zip(paper["cases"], paper["auroc"], strict=True)
        for method, value in zip(paper["methods"], values, strict=True)
    }
    rows = []
    for found in results.iter_rows(named=True):
        place = found["case"], found["method"]
        if place in in_paper and found["edge_auroc"] is not None:
            rows.append(
                {
                    "case": found["case"],
                    "method": found["method"],
                    "staircase": found["staircase"],
                    "ranking": found["edge_auroc"],
                    "published": in_paper[place],
                }
            )
    return rows


def auroc_statistics(rows: Sequence[dict[str, Any]], column: str) -> list[Comparison]:
    """Compares every pair of methods over the cases for which both have results.

    Args:
      rows: rows from `auroc_rows`.
      column: `staircase`, `ranking` or `published`.
    """
    cases = list(dict.fromkeys(row["case"] for row in rows))
    table = np.full((len(cases), len(METHODS)), np.nan)
    for row in rows:
        table[cases.index(row["case"]), METHODS.index(row["method"])] = row[column]
    return compare(table, METHODS)
