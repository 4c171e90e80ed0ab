"""A consistent look per entrant in all drawings, distinguishable with and without colour."""

from typing import NamedTuple

# Okabe and Ito's colour-blind safe colours, with yellow and black replaced. The numbers of colours,
# dashes, hatches and markers are coprime, so any two of these distinguish 35 entrants.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6BB1", "#777777")
_DASHES = ((), (5, 2), (1, 1.5), (6, 2, 1, 2), (9, 3))
_HATCHES = ("", "//", "..", "xx", "--", "\\\\", "++")
_MARKERS = "osD^v<>Ph"


class Look(NamedTuple):
    """The look of an entrant.

    Attributes:
      colour: hexadecimal colour.
      dash: lengths of dashes and gaps; empty for a solid line.
      hatch: hatch of areas, in Matplotlib's notation.
      marker: marker of points, in Matplotlib's notation.
    """

    colour: str
    dash: tuple[float, ...]
    hatch: str
    marker: str


def look(place: int) -> Look:
    """The look of the entrant at a place; the first 35 differ in every pair of properties."""
    return Look(
        _COLOURS[place % len(_COLOURS)],
        _DASHES[place % len(_DASHES)],
        _HATCHES[place % len(_HATCHES)],
        _MARKERS[place % len(_MARKERS)],
    )
