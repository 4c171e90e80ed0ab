"""Drawings of the losses and scores of a training run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

_LOSSES = ("behaviour", "IIT", "strict")
_SCORES = {
    "accuracy": "accuracy",
    "iia": "worst IIA",
    "siia": "worst SIIA",
    "edges": "worst set of edges",
}
# With markers, so that a run with one round is visible too.
_STYLES: tuple[dict[str, Any], ...] = (
    {"linestyle": "-", "marker": "o", "markersize": 3.5},
    {"linestyle": "--", "marker": "s", "markersize": 3.5},
    {"linestyle": ":", "marker": "^", "markersize": 3.5},
    {"linestyle": "-.", "marker": "d", "markersize": 3.5},
)
_MOST_MARKERS = 20
_MOST_IN_COLUMN = 12


def draw_history(rows: Sequence[dict[str, Any]], file: Path, *, title: str) -> None:
    """Draws the rounds of a run to a PNG or SVG, with one colour per member if there are several.

    Args:
      rows: rounds from `read_metrics`.
      file: where to write.
      title: the title.
    """
    batches = [row["batches"] for row in rows]
    losses = np.array([row["losses"] for row in rows], float)
    # Older runs, from before training was evaluated by edges, do not have that score.
    known = {name: label for name, label in _SCORES.items() if all(name in row for row in rows)}
    scores = np.stack([np.array([row[name] for row in rows], float) for name in known], axis=-1)
    n_members = losses.shape[1]
    n_columns = -(-n_members // _MOST_IN_COLUMN) if n_members > 1 else 0  # of the legend

    figure = Figure(figsize=(9 + 1.2 * n_columns, 3.6), layout="constrained")
    figure.suptitle(title, parse_math=False)
    above, below = figure.subplots(1, 2)
    _draw(above, batches, losses, _LOSSES)
    above.set(yscale="log", xlabel="batches", ylabel="loss")
    _draw(below, batches, scores, tuple(known.values()))
    below.set(xlabel="batches", ylabel="share right", ylim=(-0.02, 1.02))
    if n_columns:
        handles = [
            Line2D([], [], color=colour, label=f"member {member}")
            for member, colour in enumerate(_colours(n_members))
        ]
        figure.legend(handles=handles, loc="outside right center", frameon=False, ncols=n_columns)
    figure.savefig(file, dpi=120)


def _draw(
    axes: Axes,
    batches: Sequence[int],
    values: Float[np.ndarray, "round member kind"],
    names: Sequence[str],
) -> None:
    n_rounds, n_members, n_kinds = values.shape
    several = n_members > 1
    of_members, of_kinds = _colours(n_members), [f"C{kind}" for kind in range(n_kinds)]
    styles = _STYLES[:n_kinds]
    for kind, style in enumerate(styles):
        for member in range(n_members):
            axes.plot(
                batches,
                values[:, member, kind],
                color=of_members[member] if several else of_kinds[kind],
                alpha=0.8,
                markevery=-(-n_rounds // _MOST_MARKERS),
                **style,
            )
    handles = [
        Line2D([], [], color="black" if several else colour, label=name, **style)
        for name, colour, style in zip(names, of_kinds, styles, strict=True)
    ]
    axes.legend(handles=handles, frameon=False, handlelength=3)
    axes.grid(alpha=0.3)


def _colours(n_members: int) -> list[str]:
    """Colours that also differ in brightness; the brightest, hard to see on white, are excluded."""
    return [to_hex(rgba) for rgba in colormaps["viridis"](np.linspace(0, 0.9, n_members))]
