"""Drawings of the effect of every node of a model."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from interpbench_jax.benchmark.evaluate import JointEvaluation
from interpbench_jax.evaluation import ABLATIONS
from interpbench_jax.files import replacing
from interpbench_jax.zoo import BenchmarkModel

# Colour-blind safe, and also distinguished by hatching.
_STYLES: dict[bool, dict[str, Any]] = {
    True: {"facecolor": "#0072B2", "label": "in the circuit"},
    False: {"facecolor": "#E69F00", "hatch": "////", "label": "outside"},
}
_FORMS = {
    "accuracy": "outputs that miss\nthe target",
    "kl": "rise of KL\nto the target",
    "kl_self": "rise of KL to the\nunpatched output",
}
_OUTLINE: dict[str, Any] = {"edgecolor": "black", "linewidth": 0.6}


def draw_effects(model: BenchmarkModel, joint: JointEvaluation, file: Path) -> None:
    """Draws the effect of every node, with one row per measure and one panel per ablation.

    Args:
      model: the model that was verified.
      joint: the results.
      file: where to write, in the format of its suffix; replaced when the drawing is complete.

    Raises:
      ValueError: there are no effects, because no target differs between base and source.
    """
    if not joint.has_effects:
        raise ValueError("no effects to draw: no target differs between base and source")
    rows = joint.effect_rows(model)
    nodes, forms = [row["node"] for row in rows], [form for form in _FORMS if form in rows[0]]
    size = (2.2 + 2.2 * len(ABLATIONS), 1.2 + len(forms) * (0.5 + 0.24 * len(nodes)))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(len(forms), len(ABLATIONS), sharey=True, sharex="row", squeeze=False)
    for form, line in zip(forms, panels, strict=True):
        for axes, kind in zip(line, ABLATIONS, strict=True):
            bars = axes.barh(nodes, [row[form][kind] for row in rows], **_OUTLINE)
            for bar, row in zip(bars, rows, strict=True):
                bar.set(**_STYLES[row["in_circuit"]])
            axes.grid(axis="x", alpha=0.3)
            if form == forms[0]:
                axes.set_title(kind.replace("_", " "))
        line[0].set_ylabel(_FORMS[form])
        for label, row in zip(line[0].get_yticklabels(), rows, strict=True):
            label.set_fontweight("bold" if row["in_circuit"] else "normal")
    panels[0, 0].set_xlim(0, 1)
    panels[0, 0].invert_yaxis()
    handles = [Patch(**_OUTLINE, **style) for style in _STYLES.values()]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False)
    title = f"case {model.case}: {model.title}\neffect of ablating each node"
    figure.suptitle(title, parse_math=False)
    with replacing(file) as partial:
        figure.savefig(partial, dpi=120)
