"""Drawings of circuits: layers from bottom to top, one arrow per head-level edge."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch

from interpbench_jax.model import Circuit, Graph
from interpbench_jax.model.circuit import Edge
from interpbench_jax.model.layout import bend, node_places

# Colour-blind safe, and also distinguished by line style and width.
_STYLES: dict[str, dict] = {
    "true": {"color": "#0072B2", "linestyle": "-", "linewidth": 2.2},
    "missed": {"color": "#D55E00", "linestyle": (0, (5, 3)), "linewidth": 1.8},
    "false": {"color": "#7A7A7A", "linestyle": (0, (1, 1.6)), "linewidth": 1.6},
    "unobservable": {"color": "#0072B2", "linestyle": (0, (3, 2)), "linewidth": 1.4},
}


def draw_comparison(
    truth: Circuit, found: Mapping[str, Circuit], file: Path, *, title: str
) -> None:
    """Writes a picture of the true circuit next to found ones; the suffix determines the format.

    Nodes without edges are not drawn. Edges of the true circuit that no patch can reveal are
    dashed, in found circuits too.

    Args:
      truth: the circuit to be found.
      found: circuits by the name of their method.
      file: where to write.
      title: the title.
    """
    panels = 1 + len(found)
    height = 0.2 + max(y for _, y in node_places(truth.graph).values())
    figure = Figure(figsize=(3.9 * panels, height), layout="constrained")
    axes = figure.subplots(1, panels, squeeze=False)[0]
    _draw(axes[0], truth.graph, edge_kinds(truth, truth), "true circuit")
    for axis, (name, circuit) in zip(axes[1:], found.items(), strict=True):
        kinds = edge_kinds(truth, circuit)
        _draw(axis, truth.graph, kinds, f"{name}: {_counts(kinds)}")
    handles = [
        Line2D([], [], label=kind, **style)
        for kind, style in _STYLES.items()
        if kind != "unobservable" or truth.head_edges != truth.observable.head_edges
    ]
    columns = min(len(handles), 2 * panels + 1)
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False)
    figure.suptitle(title, parse_math=False)
    figure.savefig(file, dpi=110)


def draw_circuit(axis: Axes, truth: Circuit, found: Circuit, title: str) -> None:
    """Draws one circuit; edges are marked as true, false or missed.

    Args:
      axis: the axes to draw on.
      truth: the circuit to be found.
      found: the circuit to draw.
      title: the title.
    """
    _draw(axis, truth.graph, edge_kinds(truth, found), title)


def edge_kinds(truth: Circuit, found: Circuit) -> dict[str, frozenset[Edge]]:
    """Head-level edges in the order of drawing: false, missed, unobservable and found, true."""
    true = truth.observable.head_edges
    return {
        "false": found.head_edges - truth.head_edges,
        "missed": true - found.head_edges,
        "unobservable": found.head_edges & truth.head_edges - true,
        "true": true & found.head_edges,
    }


def _counts(kinds: Mapping[str, Iterable[Edge]]) -> str:
    return ", ".join(f"{len(list(kinds[kind]))} {kind}" for kind in ("true", "missed", "false"))


def _draw(axis: Axes, graph: Graph, kinds: Mapping[str, Iterable[Edge]], title: str) -> None:
    places = node_places(graph)
    for kind, edges in kinds.items():
        for writer, reader in sorted(edges):
            axis.add_patch(
                FancyArrowPatch(
                    places[writer],
                    places[reader],
                    arrowstyle="-|>",
                    mutation_scale=13,
                    shrinkA=15,
                    shrinkB=15,
                    connectionstyle=f"arc3,rad={bend(places[writer], places[reader])}",
                    **_STYLES[kind],
                )
            )
    used = {name for edges in kinds.values() for edge in edges for name in edge}
    box = {"boxstyle": "round,pad=0.32", "facecolor": "white", "edgecolor": "black"}
    for name, (x, y) in places.items():
        if name in used:
            axis.text(x, y, name, ha="center", va="center", fontsize=9, bbox=box)
    axis.set_xlim(-0.6, max(x for x, _ in places.values()) + 0.6)
    axis.set_ylim(-0.6, max(y for _, y in places.values()) + 0.6)
    axis.set_title(title, fontsize=11, parse_math=False)
    axis.set_axis_off()
