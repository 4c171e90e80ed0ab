"""Tables of a report, as rows of plain values, CSV and Markdown."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from interpbench_jax.benchmark.report.results import Results
from interpbench_jax.benchmark.results_store import SCORES, missing_if_nan
from interpbench_jax.model.circuit import CIRCUIT_KINDS
from interpbench_jax.scoring import compare, ranking

Row = dict[str, Any]
COMPARED = ("edge_auroc", "edge_ap", "cpr")
"""Scores for pairwise comparisons of methods."""
_RANKED_SHARE = 0.5
_INTERVALS = ("rank", "best_rank", "worst_rank", "low", "high")
LOWER_IS_BETTER = ("cmd", "cmd_signed", "incompleteness", "incompleteness_worst", "superfluous")


def leaderboard(results: Results) -> list[Row]:
    """A row per entrant and kind of circuit, the best first: rank by edge AUROC, mean scores.

    Numbers are means over the cases for which all ranked entrants have results. An entrant with
    results on fewer than half of the cases is not ranked; its means are over its own cases.
    Circuits without a ranking of edges have no AUROC and are not ranked.
    """
    rows = []
    inputs = results.inputs_of
    for kind in CIRCUIT_KINDS:
        models = results.models_of(kind)
        if not models:
            continue
        scored = {score: results.table(score, models) for score in (*SCORES, "seconds")}
        has_auroc = ~np.isnan(scored["edge_auroc"])
        known = has_auroc | ~np.isnan(scored["found_edges"])  # circuits without a ranking
        ranked = np.flatnonzero(has_auroc.mean(0) >= _RANKED_SHARE)
        common = has_auroc[:, ranked].all(1)
        names = [results.entrants[place] for place in ranked]
        places = {found.method: found for found in ranking(scored["edge_auroc"][:, ranked], names)}
        for column in np.flatnonzero(known.any(0)):
            place = places.get(results.entrants[column])
            ours = common if place is not None and common.any() else known[:, column]
            values = {score: _mean(table[ours, column]) for score, table in scored.items()}
            intervals = {} if place is None else place._asdict()
            rows.append(
                {
                    "kind": kind,
                    "entrant": results.entrants[column],
                    "selection": results.selection_of[results.entrants[column]],
                    "cases": int(ours.sum()),
                    "inputs": inputs[results.entrants[column]],
                    **{name: missing_if_nan(intervals.get(name)) for name in _INTERVALS},
                    **values,
                }
            )
    return sorted(rows, key=_order)


def _order(row: Row) -> tuple:
    rank = float("inf") if row["rank"] is None else row["rank"]
    return CIRCUIT_KINDS.index(row["kind"]), rank, row["entrant"]


_SHORT = {
    "edge_auroc": "AUROC",
    "edge_ap": "average precision",
    "node_auroc": "nodes",
    "cpr": "CPR",
    "seconds": "seconds",
}


def short_board(results: Results) -> str:
    """The leaderboard as short Markdown tables, one per kind of circuit, the best entrant first.

    Entrants that are not ranked are left out.
    """
    parts = []
    rows = leaderboard(results)
    for kind in CIRCUIT_KINDS:
        own = [row for row in rows if row["kind"] == kind and row["rank"] is not None]
        if own:
            table = [
                {
                    "method": f"`{row['entrant']}`",
                    "rank": _rank(row),
                    **{name: _digits(row[score]) for score, name in _SHORT.items()},
                }
                for row in own
            ]
            parts.append(f"## {kind}: {own[0]['cases']} models\n\n{to_markdown(table)}")
    return "\n".join(parts)


def _rank(row: Row) -> str:
    return f"{row['rank']:.1f} ({row['best_rank']:.1f} to {row['worst_rank']:.1f})"


def _digits(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def comparisons(results: Results) -> list[Row]:
    """A row per pair of entrants, kind of circuit and score, for kinds with at least two cases."""
    rows = []
    for kind in CIRCUIT_KINDS:
        models = results.models_of(kind)
        for score in COMPARED if len(models) > 1 else ():
            for found in compare(results.table(score, models), results.entrants):
                if found.n_cases > 1:
                    plain = {name: missing_if_nan(value) for name, value in found._asdict().items()}
                    rows.append({"kind": kind, "score": score, **plain})
    return rows


def by_case(results: Results) -> list[Row]:
    """A row per model and entrant, with every score averaged over seeds."""
    tables = {score: results.table(score, results.models) for score in (*SCORES, "seconds")}
    known = ~np.isnan(tables["edge_auroc"]) | ~np.isnan(tables["found_edges"])
    return [
        {
            "model": model,
            "kind": results.kind_of[model],
            "entrant": entrant,
            "selection": results.selection_of[entrant],
            **{score: missing_if_nan(table[i, j]) for score, table in tables.items()},
        }
        for i, model in enumerate(results.models)
        for j, entrant in enumerate(results.entrants)
        if known[i, j]
    ]


def inputs_needed(results: Results) -> list[Row]:
    """A row per entrant, kind of circuit and number of inputs; empty if there is only one number.

    Has mean edge AUROC and average precision over the cases with results for all of an entrant's
    numbers and seeds, and the mean AUROC of its worst and of its best seed.
    """
    import polars as pl

    run = ("kind", "entrant", "n_inputs", "seed")
    rows = results.of_inputs.filter(pl.col("edge_auroc").is_not_null())
    several = pl.struct("n_inputs", "seed").n_unique()
    rows = rows.filter(pl.col("n_inputs").n_unique().over("entrant") > 1)
    whole = several.over("entrant", "model") == several.over("entrant")
    by_seed = (
        rows.filter(whole)
        .group_by(*run)
        .agg(pl.col("model").n_unique().alias("cases"), pl.col("edge_auroc", "edge_ap").mean())
    )
    found = by_seed.group_by("kind", "entrant", "n_inputs").agg(
        pl.col("cases").first(),
        pl.len().alias("seeds"),
        pl.col("edge_auroc", "edge_ap").mean(),
        pl.col("edge_auroc").min().alias("worst_seed"),
        pl.col("edge_auroc").max().alias("best_seed"),
    )
    ordered = sorted(
        found.iter_rows(named=True),
        key=lambda row: (CIRCUIT_KINDS.index(row["kind"]), row["entrant"], row["n_inputs"]),
    )
    return list(ordered)


def runtimes(results: Results) -> list[Row]:
    """For each entrant and device, the time of its runs over all models, if they were timed."""
    import polars as pl

    timed = results.done.filter(pl.col("seconds").is_not_null())
    grouped = timed.group_by("entrant", "device", maintain_order=True).agg(
        runs=pl.len(),
        median_seconds=pl.col("seconds").median(),
        most_seconds=pl.col("seconds").max(),
        compile_seconds=pl.col("compile_seconds").sum(),
    )
    return list(grouped.iter_rows(named=True))


def runs(results: Results) -> list[Row]:
    """Every run that counts, so that numbers can be traced back to runs."""
    columns = (
        "id", "model", "model_id", "method", "method_version", "environment", "ablation",
        "selection", "seed", "n_inputs", "status", "error",
        "edge_auroc", "cpr", "seconds", "compile_seconds", "scoring_seconds", "started", "device",
    )  # fmt: skip
    return list(results.rows.select(columns).iter_rows(named=True))


def to_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Comma-separated values with a header; numbers with full precision."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def to_markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table with a header; numbers to three digits."""
    names = list(rows[0]) if rows else []
    lines = [names, ["---"] * len(names), *([_cell(row[name]) for name in names] for row in rows)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.3g}" if isinstance(value, float) else str(value).replace("|", "\\|")


def _mean(values: np.ndarray) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None
