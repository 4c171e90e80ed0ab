"""Losses and scores of a training run, drawn."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

_LOSSES = ("behaviour", "IIT", "strict")
_SCORES = ("accuracy", "iia", "siia")
_STYLES = ("-", "--", ":")


def draw_history(rows: Sequence[dict[str, Any]], file: Path, *, title: str) -> None:
    """Draws the rounds of a run, a thin line per member, to a PNG or SVG.

    Args:
      rows: rounds, as `read_metrics` gives them.
      file: where to write.
      title: above the drawing.
    """
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    figure.suptitle(title)
    above, below = figure.subplots(1, 2)
    batches = [row["batches"] for row in rows]
    for place, (name, style) in enumerate(zip(_LOSSES, _STYLES, strict=True)):
        losses = np.array([row["losses"] for row in rows], float)[:, :, place]
        lines = above.plot(batches, losses, style, color=f"C{place}", alpha=0.8)
        lines[0].set_label(name)
    above.set(yscale="log", xlabel="batches", ylabel="loss")
    for place, (name, style) in enumerate(zip(_SCORES, _STYLES, strict=True)):
        scores = np.array([row[name] for row in rows], float)
        lines = below.plot(batches, scores, style, color=f"C{place}", alpha=0.8)
        lines[0].set_label(name if name == "accuracy" else f"worst {name.upper()}")
    below.set(xlabel="batches", ylabel="share right", ylim=(-0.02, 1.02))
    for axes in (above, below):
        axes.legend(frameon=False)
        axes.grid(alpha=0.3)
    figure.savefig(file, dpi=120)
