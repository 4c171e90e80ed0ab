"""Writes the report: the page, and plots, circuits and tables as separate files."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jinja2

from interpbench_jax.benchmark.packed_results import PackedResults
from interpbench_jax.benchmark.report import tables
from interpbench_jax.benchmark.report.looks import look
from interpbench_jax.benchmark.report.plots import PLOTS, render
from interpbench_jax.benchmark.report.results import Results
from interpbench_jax.benchmark.report.roc_svg import curve_style
from interpbench_jax.benchmark.report.sections import anchor, graphs, section
from interpbench_jax.benchmark.results_store import Store
from interpbench_jax.files import from_json, make_directory, replacing
from interpbench_jax.model.circuit import CIRCUIT_KINDS
from interpbench_jax.model.circuit_svg import MARKERS, nodes

_HERE = Path(__file__).parent


def write_report(
    store: Store | PackedResults, out: Path, *, beside: PackedResults | None = None
) -> Path:
    """Writes a page that needs no network, and plots, circuits and tables as separate files.

    Args:
      store: the results.
      out: the directory; created if missing. Files of an older report are replaced.
      beside: other results, of which those on the same models are shown too.

    Returns:
      The page, `out/index.html`. The other files are `plots/NAME.png` and `.svg`, for cases with
      attention or else the first kind of circuit with results; `circuits/CASE.svg`, the true
      circuit and all found ones; `tables/NAME.csv` and `.md`; and `tables/board.md`, a short
      leaderboard. If every run failed, the page has the errors. It also lists files without a
      valid result.

    Raises:
      ValueError: there are no results, or `out` cannot be written to.
    """
    return write_results(Results(store, beside), out)


def write_results(results: Results, out: Path) -> Path:
    """`write_report` for results that have already been read.

    Raises:
      ValueError: `out` cannot be written to.
    """
    make_directory(out)
    plots = _write_plots(results, out / "plots")
    written = _write_tables(results, out / "tables")
    sections = [section(results, model) for model in results.models]
    for part in sections:
        _write(out / "circuits" / f"{part['anchor']}.svg", part["svg"])
    page = out / "index.html"
    _write(page, _page(results, plots, written, sections))
    return page


def _page(results: Results, plots: list[dict], written: dict, sections: list[dict]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE, encoding="utf-8"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = _number
    environment.filters["anchor"] = anchor
    everything = results.rows
    return environment.get_template("page.html.jinja").render(
        css=(_HERE / "style.css").read_text("utf-8") + curve_style(len(results.entrants)),
        js=(_HERE / "script.js").read_text("utf-8"),
        results=results,
        plots=plots,
        plotted=_plotted(results),
        board=written["leaderboard"],
        pairs=written["comparisons"],
        inputs=written["inputs"],
        cases=written["cases"],
        times=written["runtimes"],
        runs=written["runs"],
        sections=sections,
        definitions=MARKERS + "".join(nodes(graph) for graph in graphs(sections)),
        kinds=[kind for kind in CIRCUIT_KINDS if results.models_of(kind)],
        looks=[look(place) for place in range(len(results.entrants))],
        heat=_heat(results),
        ablations=sorted(everything["ablation"].unique()),
        seeds=sorted(everything["seed"].unique()),
        made={
            "commands": _counted(everything["command"].to_list()),
            "devices": _counted(everything["device"].to_list()),
            "versions": _counted(map(_versions, everything["versions"].to_list())),
            "code": _counted(everything["environment"].str.slice(0, 7).to_list()),
            "first": everything["started"].min(),
            "last": everything["started"].max(),
            "n_inputs": sorted(results.of_inputs["n_inputs"].unique()),
        },
        knobs=_knobs(results),
        lower_is_better=tables.LOWER_IS_BETTER,
    )


_HEAT_SCORES = {
    "edge_auroc": "edge AUROC",
    "edge_ap": "average precision",
    "edge_auroc_qkv": "edge AUROC, q/k/v separate",
    "node_auroc": "node AUROC",
    "staircase": "staircase AUROC",
    "cpr": "CPR",
    "cpr_signed": "CPR, signed",
}


def _heat(results: Results) -> dict[str, Any]:
    """Several scores per model and entrant; the page shows one of them at a time."""
    by_score = {score: results.table(score, results.models) for score in _HEAT_SCORES}
    rows = [
        {
            "model": model,
            "kind": results.kind_of[model],
            "cells": [
                [_number(float(table[i, j])) for table in by_score.values()]
                for j in range(len(results.entrants))
            ],
        }
        for i, model in enumerate(results.models)
    ]
    return {"names": list(_HEAT_SCORES.values()), "rows": rows}


def _plotted(results: Results) -> str:
    """The kind of circuit in plots: the first kind with models."""
    return next((kind for kind in CIRCUIT_KINDS if results.models_of(kind)), CIRCUIT_KINDS[0])


def _write_plots(results: Results, directory: Path) -> list[dict[str, str]]:
    models = results.models_of(_plotted(results))
    plots: list[dict[str, str]] = []
    if not results.models:
        return plots
    for name, (title, plot) in PLOTS.items():
        shown = results.models if name == "heat" else models
        drawn = render(plot, results, shown)
        if drawn is None:
            continue
        for suffix in ("png", "svg"):
            _write(directory / f"{name}.{suffix}", drawn[suffix])
        about = " ".join((plot.__doc__ or "").split())
        plots.append({"name": name, "title": title, "about": about, "svg": str(drawn["inline"])})
    return plots


def _write_tables(results: Results, directory: Path) -> dict[str, list[dict[str, Any]]]:
    found = {
        "leaderboard": tables.leaderboard(results),
        "comparisons": tables.comparisons(results),
        "cases": tables.by_case(results),
        "runtimes": tables.runtimes(results),
        "inputs": tables.inputs_needed(results),
        "runs": tables.runs(results),
    }
    for name, rows in found.items():
        _write(directory / f"{name}.csv", tables.to_csv(rows))
        _write(directory / f"{name}.md", tables.to_markdown(rows))
    _write(directory / "board.md", tables.short_board(results))
    return found


def _knobs(results: Results) -> list[tuple[str, str]]:
    """For each entrant, the settings of its runs, if known."""
    import polars as pl

    done = results.done.filter(pl.col("knobs").is_not_null())
    seen: dict[str, list[str]] = {}
    for entrant, text in done.select("entrant", "knobs").unique(maintain_order=True).iter_rows():
        settings = _read(text)
        shown = ", ".join(f"{name} = {_brief(value)}" for name, value in (settings or {}).items())
        seen.setdefault(entrant, []).append("(damaged)" if settings is None else shown)
    return [(entrant, "; or ".join(each)) for entrant, each in seen.items()]


def _brief(value: Any) -> str:
    """A setting, its numbers to four digits; the store has all of them."""
    if isinstance(value, list):
        return f"({', '.join(map(_brief, value))})"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _versions(text: str | None) -> str:
    found = _read(text)
    if found is None:
        return "(damaged)"
    return ", ".join(f"{name} {version}" for name, version in found.items())


def _read(text: str | None) -> dict[str, Any] | None:
    """The content of a JSON column; empty if it is missing, None if it is damaged."""
    try:
        found = from_json(text or "{}", source="a column")
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _counted(values: Iterable[str | None]) -> list[tuple[str, int]]:
    return Counter(value or "(not known)" for value in values).most_common()


def _number(value: float | int | None, digits: int = 3) -> str:
    """A number for a table; empty if there is none."""
    return "" if value is None or value != value else f"{value:.{digits}f}"


def _write(file: Path, content: str | bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as partial:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)
