"""ROC curves of one case as an SVG drawing for the page."""

from collections.abc import Sequence

from markupsafe import escape

from interpbench_jax.benchmark.report.looks import look

_SIZE, _LEFT, _TOP = 220, 34, 8


def roc_svg(curves: Sequence[tuple[int, Sequence[float], Sequence[float]]], label: str) -> str:
    """Draws curves and the diagonal of chance; the page's style has a class per entrant.

    Args:
      curves: place of the entrant, false and true positive rates.
      label: description of the drawing for screen readers.
    """
    lines = []
    for place, false_rates, true_rates in curves:
        points = " ".join(
            f"{_LEFT + _SIZE * x:.1f},{_TOP + _SIZE * (1 - y):.1f}"
            for x, y in zip([0, *false_rates], [0, *true_rates], strict=True)
        )
        lines.append(f'<polyline class="curve e{place}" points="{points}"/>')
    ticks = []
    for share in (0, 0.25, 0.5, 0.75, 1):
        x, y = _LEFT + _SIZE * share, _TOP + _SIZE * (1 - share)
        ticks.append(
            f'<path class="grid" d="M{x},{_TOP}V{_TOP + _SIZE}M{_LEFT},{y}H{_LEFT + _SIZE}"/>'
        )
        if share != 0.25 and share != 0.75:
            ticks.append(
                f'<text x="{x}" y="{_TOP + _SIZE + 14}" text-anchor="middle">{share:g}</text>'
                f'<text x="{_LEFT - 5}" y="{y + 4}" text-anchor="end">{share:g}</text>'
            )
    width, height = _LEFT + _SIZE + 10, _TOP + _SIZE + 32
    middle, centre = _TOP + _SIZE / 2, _LEFT + _SIZE / 2
    return (
        f'<svg class="roc" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label)}">'
        f"{''.join(ticks)}"
        f'<path class="chance" d="M{_LEFT},{_TOP + _SIZE}L{_LEFT + _SIZE},{_TOP}"/>{"".join(lines)}'
        f'<text x="{centre}" y="{height - 3}" text-anchor="middle">false positives</text>'
        f'<text transform="translate(10,{middle})rotate(-90)" text-anchor="middle">true positives'
        "</text></svg>"
    )


def curve_style(n_entrants: int) -> str:
    """The style of the curves and keys of `n_entrants` entrants."""
    rules = []
    for place in range(n_entrants):
        of = look(place)
        dash = f";stroke-dasharray:{' '.join(map(str, of.dash))}" if of.dash else ""
        lighter = f"color-mix(in oklab,{of.colour} 72%,white)"
        rules.append(f".e{place}{{stroke:light-dark({of.colour},{lighter}){dash}}}")
    return "".join(rules)
