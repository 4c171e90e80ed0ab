"""What training by nodes leaves open: edges outside the circuit that still change answers.

Certifies the bundled models of `iit`, `siit` (by nodes) and `edge-siit` (by edges) on held-out
sequences, with q, k and v separate. Prints a Markdown table, then one JSON line, and plots the
share of wrong answers under the worst set of patched edges found.

    python benchmarks/what_siit_leaves_open.py --cases 3 13 --out out/left-open

Columns, for each preset: the share of right answers when all edges outside the circuit are patched
at once; under the worst single edge, inside or outside; and under the worst set of edges, inside
and outside, among 1,000 random ones and those found by a greedy search.
"""

from functools import partial
from pathlib import Path

import numpy as np
import tyro
from kept import kept
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from interpbench_jax.benchmark.evaluate import certify_model
from interpbench_jax.benchmark.report.looks import look
from interpbench_jax.benchmark.report.tables import to_markdown
from interpbench_jax.files import replacing, to_json
from interpbench_jax.zoo import load_model

_PRESETS = {"iit": "plain IIT", "siit": "by nodes (SIIT)", "edge-siit": "by edges (ours)"}
_COLUMNS = {"inert": "all outside", "single": "worst edge", "searched": "worst set"}


def main(
    cases: tuple[str, ...] = ("3", "4", "11", "13", "18", "19", "21"),
    *,
    n_pairs: int = 2_000,
    out: Path = Path("out/left-open"),
) -> None:
    """Certify.

    Args:
      cases: names of cases; by default those of the paper that have attention.
      n_pairs: pairs to certify on.
      out: directory for figures; those it has are not computed again.
    """
    rows = {
        case: {
            preset: kept(out / f"{case}-{preset}.json", partial(_figures, case, preset, n_pairs))
            for preset in _PRESETS
        }
        for case in cases
    }
    table = [
        {"case": case}
        | {
            f"{preset}: {column}": _percent(row[preset][figure])
            for preset in _PRESETS
            for figure, column in _COLUMNS.items()
        }
        for case, row in rows.items()
    ]
    print(to_markdown(table), end="")
    _draw(rows, out / "left_open.png")
    print(to_json(rows))


def _draw(rows: dict[str, dict[str, dict[str, float]]], file: Path) -> None:
    """A bar per model: the share of wrong answers under the worst set of edges."""
    figure = Figure(figsize=(7.6, 2.8), layout="constrained")
    axes = figure.subplots()
    for place, (preset, label) in enumerate(_PRESETS.items()):
        wrong = [1 - row[preset]["searched"] for row in rows.values()]
        style = look((1, 4, 0)[place])
        across = np.arange(len(rows)) + 0.27 * (place - 1)
        axes.bar(across, wrong, 0.25, color=style.colour, hatch=style.hatch, label=label)
    axes.set_xticks(range(len(rows)), [f"task {case}" for case in rows])
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set(ylabel="wrong answers")
    axes.set_title(
        "Does the model follow its algorithm when edges are patched? The worst set of edges",
        fontsize=10,
    )
    axes.set_ylim(0, 1.15 * axes.get_ylim()[1])  # room for the legend
    axes.legend(frameon=False, fontsize=9, ncols=3, loc="upper center")
    axes.grid(axis="y", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    with replacing(file) as partial:
        figure.savefig(partial, dpi=150)


def _figures(case: str, preset: str, n_pairs: int) -> dict[str, float]:
    model = load_model(case if preset == "edge-siit" else f"{preset}/{case}")
    found = certify_model(model, n_pairs=n_pairs)
    figures: dict[str, float] = {}
    for name, level in (("", found.qkv), ("head_", found.head)):
        single = np.concatenate([level.inside, level.outside])
        figures |= {
            f"{name}inert": level.inert,
            f"{name}single": float(np.nanmin(single)),
            f"{name}random": level.random_mean,
            f"{name}worst": level.worst,
            f"{name}searched": level.searched,
        }
    return figures


def _percent(share: float) -> str:
    """In percent, rounded down, so that 100 is exact."""
    return f"{np.floor(1e3 * share) / 10:.1f}"


if __name__ == "__main__":
    tyro.cli(main)
