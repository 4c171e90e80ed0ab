"""Circuits as small SVG drawings for a page with many of them; the nodes are defined once."""

import math
from collections.abc import Iterable, Mapping

from markupsafe import escape

from interpbench_jax.files import fingerprint
from interpbench_jax.model.graph import Edge, Graph
from interpbench_jax.model.layout import bend, node_places

_UNIT_X, _UNIT_Y, _MARGIN = 52, 46, 26
_HALF_HEIGHT, _GAP = 10, 3
_TITLE = 36
# Sideways offset of a bent edge's control points, in layers: past the MLPs, short of the heads.
_HANDLE = 0.87

STYLE = """
.node rect{fill:#fff;stroke:#999}.node text{fill:#222;font:11px system-ui,sans-serif}
.edge{fill:none}.edge.true{stroke:#0072B2;stroke-width:2.4}
.edge.missed{stroke:#D55E00;stroke-width:2;stroke-dasharray:6 4}
.edge.false{stroke:#888;stroke-width:1.7;stroke-dasharray:1.5 3}
.edge.unobservable{stroke:#0072B2;stroke-width:1.5;stroke-dasharray:3.5 2.5}
"""
"""Style of a stand-alone drawing; the page defines the same classes itself."""

MARKERS = "".join(
    f'<marker id="tip-{kind}" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="7" '
    f'markerHeight="7" markerUnits="userSpaceOnUse" orient="auto">'
    f'<path d="M0,0.5 L8,4 L0,7.5 z" class="tip {kind}" fill="{colour}"/></marker>'
    for kind, colour in (
        ("true", "#0072B2"),
        ("missed", "#D55E00"),
        ("false", "#888"),
        ("unobservable", "#0072B2"),
    )
)
"""Arrow heads; define them once per page."""


def nodes(graph: Graph) -> str:
    """The boxes of all nodes of a graph; defined once, and used by all drawings of it."""
    boxes = []
    for name, (x, y) in _places(graph).items():
        half = _half_width(name)
        boxes.append(
            f'<g class="node" id="{_node_id(graph, name)}"><rect x="{x - half:.0f}" '
            f'y="{y - _HALF_HEIGHT:.0f}" width="{2 * half:.0f}" height="{2 * _HALF_HEIGHT}" '
            f'rx="5"/><text x="{x:.0f}" y="{y + 4:.0f}" text-anchor="middle">{name}</text></g>'
        )
    return "".join(boxes)


def _node_id(graph: Graph, name: str) -> str:
    return f"g{fingerprint(writers=graph.writers, readers=graph.readers)[:8]}-{name}"


def circuit_svg(graph: Graph, kinds: Mapping[str, Iterable[Edge]], label: str) -> str:
    """A drawing of edges and of the nodes that they touch.

    Args:
      graph: the circuit's graph.
      kinds: edges by kind: `true`, `missed`, `false` and `unobservable`.
      label: description of the drawing for screen readers.
    """
    places = _places(graph)
    touched = {name for edges in kinds.values() for edge in edges for name in edge}
    paths = [f'<use href="#{_node_id(graph, name)}"/>' for name in places if name in touched]
    for kind, edges in kinds.items():
        lines = [_line(places, writer, reader) for writer, reader in sorted(edges)]
        paths += [
            f'<path class="edge {kind}" d="{line}" marker-end="url(#tip-{kind})"/>'
            for line in lines
        ]
    return (
        f'<svg class="circuit" viewBox="{_box(graph)}" role="img" aria-label="{escape(label)}">'
        f"{''.join(paths)}</svg>"
    )


def standing_alone(graph: Graph, drawings: Mapping[str, str]) -> str:
    """One SVG file with several drawings of one graph side by side.

    Args:
      graph: the graph of all drawings.
      drawings: results of `circuit_svg`, by title.
    """
    width, height = _size(graph)
    columns = min(len(drawings), 4)
    rows = -(-len(drawings) // columns)
    cells = []
    for place, (title, drawing) in enumerate(drawings.items()):
        x, y = place % columns * width, place // columns * (height + _TITLE)
        inner = drawing.replace("<svg ", f'<svg width="{width}" height="{height}" y="{_TITLE}" ', 1)
        name, _, counts = title.partition(": ")
        cells.append(
            f'<g transform="translate({x},{y})" text-anchor="middle" font-family="sans-serif">'
            f'<text x="{width / 2}" y="16" font-size="12" font-weight="bold">{escape(name)}</text>'
            f'<text x="{width / 2}" y="30" font-size="10">{escape(counts)}</text>{inner}</g>'
        )
    total = f"0 0 {columns * width} {rows * (height + _TITLE)}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{total}" style="background:#fff">'
        f"<style>{STYLE}</style><defs>{MARKERS}{nodes(graph)}</defs>{''.join(cells)}</svg>\n"
    )


def _places(graph: Graph) -> dict[str, tuple[float, float]]:
    places = node_places(graph)
    top = max(y for _, y in places.values())
    return {
        name: (_MARGIN + _UNIT_X * x, 16 + _UNIT_Y * (top - y)) for name, (x, y) in places.items()
    }


def _size(graph: Graph) -> tuple[int, int]:
    places = _places(graph).values()
    return round(max(x for x, _ in places) + _MARGIN), round(max(y for _, y in places) + 16)


def _box(graph: Graph) -> str:
    width, height = _size(graph)
    return f"0 0 {width} {height}"


def _half_width(name: str) -> float:
    return 3.3 * len(name) + 4


def _line(places: Mapping[str, tuple[float, float]], writer: str, reader: str) -> str:
    """The path of an edge, upwards, with a small gap at both boxes."""
    start, end = places[writer], places[reader]
    (x1, y1), (x2, y2) = start, end
    # In the coordinates of the Matplotlib drawing: y points up and is measured in layers.
    rise = _HANDLE * bend((x1, -y1 / _UNIT_Y), (x2, -y2 / _UNIT_Y))
    middle = (x1 + x2) / 2 - rise * (y2 - y1), (y1 + y2) / 2 + rise * (x2 - x1)
    from_x, from_y = _leave(start, middle, _half_width(writer))
    to_x, to_y = _leave(end, middle, _half_width(reader))
    if not rise:
        return f"M{from_x:.0f},{from_y:.0f}L{to_x:.0f},{to_y:.0f}"
    return f"M{from_x:.0f},{from_y:.0f}Q{middle[0]:.0f},{middle[1]:.0f} {to_x:.0f},{to_y:.0f}"


def _leave(
    start: tuple[float, float], towards: tuple[float, float], half_width: float
) -> tuple[float, float]:
    """The point where a line from a box's middle has left the box by a small gap."""
    x, y = towards[0] - start[0], towards[1] - start[1]
    across = (half_width + _GAP) / abs(x) if x else math.inf
    share = min(across, (_HALF_HEIGHT + _GAP) / abs(y) if y else math.inf, 1.0)
    return start[0] + share * x, start[1] + share * y
