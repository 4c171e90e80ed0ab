"""A Markdown page of all experiments, with our numbers and the published ones."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from interpbench_jax.benchmark.paper.auroc import METHODS, auroc_statistics
from interpbench_jax.benchmark.paper.published import published
from interpbench_jax.benchmark.report.tables import to_markdown
from interpbench_jax.files import replacing

Rows = Sequence[dict[str, Any]]


def write_page(found: Mapping[str, Any], file: Path) -> None:
    """Writes the page.

    Args:
      found: rows by experiment; missing experiments are left out.
      file: where to write.
    """
    sections: dict[str, Callable[[Any], str]] = {
        "auroc": _auroc,
        "effects": _effects,
        "realism": _realism,
        "weights": _weights,
        "sweep": _sweep,
    }
    parts = [section(found[name]) for name, section in sections.items() if name in found]
    text = "\n\n".join(["# The experiments of the InterpBench paper", *parts])
    with replacing(file) as partial:
        partial.write_text(text + "\n", "utf-8")


def _auroc(rows: Rows) -> str:
    cases = list(dict.fromkeys(row["case"] for row in rows))
    cells = {(row["case"], row["method"]): row for row in rows}

    def cell(case: str, method: str) -> str:
        row = cells.get((case, method))
        return _three(row, "staircase", "published", "ranking") if row else ""

    table: list[list[str]] = [[case, *(cell(case, method) for method in METHODS)] for case in cases]
    means = []
    for method in METHODS:
        own = [row for row in rows if row["method"] == method]
        columns = ("staircase", "published", "ranking")
        means.append(_three({c: np.mean([r[c] for r in own]) for c in columns}, *columns))
    table.append(["mean", *means])
    return "\n\n".join(
        [
            "## How well methods find the circuits",
            "Edge AUROC by the paper's staircase: ours (published); in brackets our ranking AUROC,"
            " which has no fixed thresholds.",
            _table(["case", *METHODS], table),
            _statistics(rows),
        ]
    )


def _three(row: Mapping[str, Any], ours: str, theirs: str, ranking: str) -> str:
    return f"{row[ours]:.3f} ({row[theirs]:.3f}) [{row[ranking]:.3f}]"


def _statistics(rows: Rows) -> str:
    in_paper = {(pair["first"], pair["second"]): pair for pair in published()["pairs"]}
    table = []
    for one in auroc_statistics(rows, "staircase"):
        paper = in_paper.get((one.first, one.second))
        p, a12 = (f" ({paper['p_value']:.2g})", f" ({paper['a12']:.3f})") if paper else ("", "")
        shown = [f"{one.p_value:.2g}{p}", f"{one.p_holm:.2g}", f"{one.a12:.3f}{a12}"]
        table.append([f"{one.first} - {one.second}", str(one.n_cases), *shown])
    headers = ["pair", "cases", "Wilcoxon p (published)", "p after Holm", "A12 (published)"]
    return _table(headers, table)


def _effects(rows: Rows) -> str:
    table = []
    for row in rows:
        spans = [_span(row[side]) for side in ("inside", "outside")]
        alone = row.get("circuit_accuracy")
        shown = "" if alone is None else f"{alone:.3f}"
        table.append([row["case"], row["model"], *spans, shown])
    return "\n\n".join(
        [
            "## Effects of nodes",
            "Share of outputs that miss the target when one node is resampled (where the inputs'"
            " targets differ): mean and largest, over nodes in the circuit and outside it; and the"
            " accuracy when everything outside the circuit is mean-ablated.",
            _table(["case", "model", "in the circuit", "outside", "circuit alone"], table),
        ]
    )


def _span(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{np.mean(known):.3f}, {np.max(known):.3f}" if known else ""


def _realism(rows: Rows) -> str:
    paper = published()["realism"]
    table = []
    for name in ("siit", "tracr"):
        found = [row["correlation"] for row in rows if row["model"] == name]
        kept = [value for value in found if value is not None]
        mean = f"{np.mean(kept):.3f}" if kept else ""
        table.append([name, mean, f"{paper[name]:.3f}", f"{len(kept)} of {len(found)}"])
    return "\n\n".join(
        [
            "## Realism",
            "Correlation, over thresholds, of the accuracies of ACDC's circuits with those in the"
            " naturally trained model; mean over cases where neither is constant.",
            _table(["model", "ours", "published", "cases"], table),
        ]
    )


def _weights(found: Mapping[str, float]) -> str:
    paper = published()["weights"]
    table = [[pair, f"{value:.2f}", f"{paper[pair]:.1f}"] for pair, value in found.items()]
    return "\n\n".join(
        [
            "## Weights",
            "KL divergence between the distributions of all weights, in nats.",
            _table(["models", "ours", "published"], table),
        ]
    )


def _sweep(rows: Rows) -> str:
    columns = ("accuracy", "iia_worst", "siia_worst", "leakage", "leakage_worst")
    table = [
        [row["case"], f"{row['strict_weight']:g}", str(row["seed"])]
        + [f"{row[name]:.4f}" for name in columns]
        for row in rows
    ]
    headers = ["case", "strict weight", "seed", "accuracy", "worst IIA", "worst SIIA"]
    return "\n\n".join(
        [
            "## The strict weight",
            "The paper shows this in plots; weight 0 is plain IIT.",
            _table([*headers, "leakage", "worst leakage"], table),
        ]
    )


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return to_markdown([dict(zip(headers, row, strict=True)) for row in rows])
