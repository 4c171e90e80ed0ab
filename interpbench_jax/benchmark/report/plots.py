"""Matplotlib plots of a report, as files and inside the page."""

import io
import re
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from interpbench_jax.benchmark.report.looks import look
from interpbench_jax.benchmark.report.results import Results
from interpbench_jax.benchmark.report.tables import inputs_needed
from interpbench_jax.scoring import SHARES

# The page replaces this colour by its text colour, so that plots fit light and dark themes.
_INK = "#010203"
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "hatch.linewidth": 0.6,
    "legend.handlelength": 3.2,
}
_COLOURED: Any = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")
_LONGEST_LABEL = 24
_DRAWN_CASES = 60  # up to this many, numbers in cells are readable

Plot = Callable[[Results, Sequence[str]], Figure | None]


def box_plot(results: Results, models: Sequence[str]) -> Figure | None:
    """Edge AUROC over cases: a box per entrant, the best median first, and a dot per case."""
    table = results.table("edge_auroc", models)
    scored = [place for place in range(table.shape[1]) if not np.isnan(table[:, place]).all()]
    if not scored:
        return None
    order = sorted(scored, key=lambda place: -np.nanmedian(table[:, place]))
    figure = Figure(figsize=(7.2, 0.9 + 0.34 * len(order)), layout="constrained")
    axes = figure.subplots()
    values = [table[~np.isnan(table[:, place]), place] for place in order]
    drawn = axes.boxplot(
        values, orientation="horizontal", widths=0.62, patch_artist=True, showfliers=False
    )
    rng = np.random.default_rng(0)
    for height, (box, place) in enumerate(zip(drawn["boxes"], order, strict=True), start=1):
        of = look(place)
        box.set(facecolor=of.colour + "80", edgecolor=_ink(), hatch=of.hatch)
        shaken = height + rng.uniform(-0.2, 0.2, len(values[height - 1]))
        axes.plot(values[height - 1], shaken, ".", color=_ink(), markersize=3.5, alpha=0.65)
    for line in (*drawn["whiskers"], *drawn["caps"], *drawn["medians"]):
        line.set(color=_ink())
    for line in drawn["medians"]:
        line.set(linewidth=2)
    axes.set_yticks(range(1, len(order) + 1), [results.entrants[place] for place in order])
    axes.invert_yaxis()
    axes.axvline(0.5, color=_ink(), linewidth=0.7, linestyle=(0, (4, 4)))
    axes.set(xlabel="edge AUROC, one dot per case (0.5: chance)")
    axes.set_xlim(min(0.45, np.nanmin(table) - 0.03), 1.02)
    axes.grid(axis="x", alpha=0.25)
    return figure


def heat_map(results: Results, models: Sequence[str]) -> Figure | None:
    """Edge AUROC per case and entrant."""
    table = results.table("edge_auroc", models)
    if np.isnan(table).all():
        return None
    figure = Figure(
        figsize=(2.6 + 0.46 * table.shape[1], 2.6 + 0.2 * len(models)), layout="constrained"
    )
    axes = figure.subplots()
    image = axes.imshow(table, vmin=0.5, vmax=1, cmap="cividis", aspect="auto")
    axes.set_yticks(range(len(models)), [_label(model) for model in models])
    axes.set_xticks(
        range(len(results.entrants)),
        results.entrants,
        rotation=60,
        ha="right",
        rotation_mode="anchor",
    )
    if len(models) <= _DRAWN_CASES:
        for (row, column), value in np.ndenumerate(table):
            if not np.isnan(value):
                colour = "black" if value > 0.72 else "white"
                text = f"{value:.2f}"
                axes.text(column, row, text, ha="center", va="center", size=6.5, color=colour)
    figure.colorbar(
        image,
        label="edge AUROC",
        extend="min",
        shrink=min(1.0, 8 / len(models) + 0.3),
        aspect=30,
        pad=0.02,
    )
    return figure


def roc_plot(results: Results, models: Sequence[str]) -> Figure | None:
    """The mean ROC over cases per entrant, averaged on a grid of false positive rates."""
    grid = np.linspace(0, 1, 101)
    figure = Figure(figsize=(7.2, 4.4), layout="constrained")
    axes = figure.subplots()
    drawn = False
    for place, entrant in enumerate(results.entrants):
        curves = [
            np.interp(
                grid, [0, *row["head_false_positive_rate"]], [0, *row["head_true_positive_rate"]]
            )
            for model in models
            for row in results.of_model(model)
            if row["entrant"] == entrant and row["edge_auroc"] is not None
        ]
        if curves:
            drawn = True
            style = _line(place) | {"markevery": (place % 10, 12)}
            axes.plot(grid, np.mean(curves, 0), **style, label=entrant)
    if not drawn:
        return None
    axes.plot([0, 1], [0, 1], color=_ink(), linewidth=0.7, linestyle=(0, (4, 4)), label="chance")
    axes.set(xlabel="false positive rate", ylabel="true positive rate, mean over cases")
    axes.set(xlim=(0, 1), ylim=(0, 1.01))
    axes.grid(alpha=0.25)
    figure.legend(loc="outside right center", frameon=False, fontsize=8)
    return figure


def faithfulness_plot(results: Results, models: Sequence[str]) -> Figure | None:
    """Faithfulness of circuits of increasing size; CPR and CMD are areas of these curves."""
    figure = Figure(figsize=(7.2, 4.0), layout="constrained")
    axes = figure.subplots()
    drawn = False
    for place, entrant in enumerate(results.entrants):
        curves = [
            row["faithfulness_curve"]
            for model in models
            for row in results.of_model(model)
            if row["entrant"] == entrant and row["cpr"] is not None
        ]
        if curves:
            drawn = True
            axes.plot(SHARES, np.median(curves, 0), **_line(place), label=entrant)
    if not drawn:
        return None
    axes.axhline(1, color=_ink(), linewidth=0.7, linestyle=(0, (4, 4)))
    axes.set(xscale="log", xlabel="share of edges kept", ylabel="faithfulness, median over cases")
    axes.set_ylim(max(axes.get_ylim()[0], -1.0), min(axes.get_ylim()[1], 2.0))
    axes.grid(alpha=0.25)
    figure.legend(loc="outside right center", frameon=False, fontsize=8)
    return figure


def time_plot(results: Results, models: Sequence[str]) -> Figure | None:
    """Mean edge AUROC against the median run time."""
    table, seconds = results.table("edge_auroc", models), results.table("seconds", models)
    figure = Figure(figsize=(7.2, 4.0), layout="constrained")
    axes = figure.subplots()
    drawn = False
    for place, entrant in enumerate(results.entrants):
        if np.isnan(table[:, place]).all() or np.isnan(seconds[:, place]).all():
            continue  # the time of other tools' results is not known
        drawn = True
        of = look(place)
        x, y = np.nanmedian(seconds[:, place]), np.nanmean(table[:, place])
        axes.plot(
            x, y, of.marker, color=of.colour, markeredgecolor=_ink(), markersize=7, label=entrant
        )
    if not drawn:
        return None
    axes.set(xscale="log", xlabel="seconds per run, median, without compilation")
    axes.set(ylabel="edge AUROC, mean over cases")
    axes.grid(alpha=0.25, which="both")
    figure.legend(loc="outside right center", frameon=False, fontsize=8)
    return figure


def inputs_plot(results: Results, models: Sequence[str]) -> Figure | None:
    """Mean edge AUROC by the number of inputs that a method uses; shaded: worst to best seed."""
    kinds = {results.kind_of[model] for model in models}
    rows = [row for row in inputs_needed(results) if row["kind"] in kinds]
    if not rows:
        return None
    figure = Figure(figsize=(7.2, 4.0), layout="constrained")
    axes = figure.subplots()
    for place, entrant in enumerate(results.entrants):
        own = [row for row in rows if row["entrant"] == entrant]
        if own:
            numbers = [row["n_inputs"] for row in own]
            axes.plot(numbers, [row["edge_auroc"] for row in own], **_line(place), label=entrant)
            worst, best = ([row[f"{end}_seed"] for row in own] for end in ("worst", "best"))
            shade = look(place).colour
            axes.fill_between(numbers, worst, best, color=shade, alpha=0.15, linewidth=0)
    numbers = sorted({row["n_inputs"] for row in rows})
    axes.set(xscale="log", xlabel="inputs", ylabel="edge AUROC, mean over cases")
    axes.set_xticks(numbers, [f"{number:,}" for number in numbers])
    axes.minorticks_off()
    axes.grid(alpha=0.25)
    figure.legend(loc="outside right center", frameon=False, fontsize=8)
    return figure


def node_plot(results: Results, models: Sequence[str]) -> Figure | None:
    """Share of performance lost when one node is patched, in the true circuit and outside."""
    inside: list[tuple[int, float]] = []
    outside: list[tuple[int, float]] = []
    for place, model in enumerate(models):
        row = next((r for r in results.of_model(model) if r["node_importance"]), None)
        if row is None:
            continue
        for node, (value, true) in node_importances(results, row).items():
            if node != "input" and not np.isnan(value):
                (inside if true else outside).append((place, value))
    if not inside:
        return None
    figure = Figure(figsize=(max(7.2, 1.6 + 0.22 * len(models)), 3.2), layout="constrained")
    axes = figure.subplots()
    for points, of, name in ((outside, look(4), "outside"), (inside, look(0), "in the circuit")):
        if points:
            x, y = np.array(points).T
            shape = "x" if name == "outside" else "o"
            axes.plot(x, y, shape, color=of.colour, markersize=4.5, label=name, alpha=0.85)
    labels = [_label(model) for model in models]
    axes.set_xticks(range(len(models)), labels, rotation=90 if len(models) > 8 else 0)
    axes.set(ylabel="share of performance lost", xlabel="case")
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, -0.5), min(high, 2.5))
    axes.grid(axis="y", alpha=0.25)
    figure.legend(loc="outside upper right", ncols=2, frameon=False)
    return figure


def node_importances(results: Results, row: dict) -> dict[str, tuple[float, bool]]:
    """For each writer, the performance lost without it, and whether it is in the true circuit."""
    truth = results.circuit(row["model_id"])
    values = row["node_importance"]
    return {
        node: (float("nan") if value is None else value, node in truth.nodes)
        for node, value in zip(truth.graph.writers, values, strict=True)
    }


PLOTS: dict[str, tuple[str, Plot]] = {
    "boxes": ("Edge AUROC over cases", box_plot),
    "roc": ("Mean ROC curves", roc_plot),
    "faithfulness": ("Faithfulness by circuit size", faithfulness_plot),
    "time": ("Quality and cost", time_plot),
    "inputs": ("Inputs that methods need", inputs_plot),
    "nodes": ("Importance of nodes", node_plot),
    "heat": ("Edge AUROC per case", heat_map),
}
"""Title and function of each plot, by the name of its file."""


def render(plot: Plot, results: Results, models: Sequence[str]) -> dict[str, bytes | str] | None:
    """A plot as `png` and `svg` for files, and as `inline` SVG for the page; None if empty."""
    with mpl.rc_context({**_STYLE, **dict.fromkeys(_COLOURED, _INK)}):
        figure = plot(results, models)
        if figure is None:
            return None
        text, pixels = io.StringIO(), io.BytesIO()
        figure.savefig(text, format="svg", metadata={"Date": None}, transparent=True)
        figure.savefig(pixels, format="png", dpi=130)
    svg = text.getvalue()
    return {"png": pixels.getvalue(), "svg": svg.replace(_INK, "#000000"), "inline": _inline(svg)}


def _inline(svg: str) -> str:
    """Removes the fixed size and prologue, and uses the page's colour and font."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", body, count=1)
    body = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", body, count=1)
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font: \1 system-ui, sans-serif", body)
    return body.replace(_INK, "currentColor")


def _label(model: str) -> str:
    """A model's name shortened for plots: the end of a long path."""
    return model if len(model) <= _LONGEST_LABEL else f"…{model[1 - _LONGEST_LABEL :]}"


def _ink() -> str:
    return mpl.rcParams["text.color"]


def _line(place: int) -> dict:
    of = look(place)
    return {
        "color": of.colour,
        "linewidth": 1.8,
        "linestyle": (0, of.dash) if of.dash else "-",
        "marker": of.marker,
        "markersize": 4,
    }
