"""One look per entrant, in every drawing: told apart by colour, and without it."""

from typing import NamedTuple

# Okabe and Ito's colours for the colour-blind, the yellow and black replaced. Numbers of colours,
# dashes, hatches and markers have no common divisor, so that any two together tell 35 apart.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6BB1", "#777777")
_DASHES = ((), (5, 2), (1, 1.5), (6, 2, 1, 2), (9, 3))
_HATCHES = ("", "//", "..", "xx", "--", "\\\\", "++")
_MARKERS = "osD^v<>Ph"


class Look(NamedTuple):
    """How an entrant is drawn.

    Attributes:
      colour: as hexadecimal.
      dash: lengths of dashes and gaps; nothing for a full line.
      hatch: of areas, as Matplotlib names it.
      marker: of points, as Matplotlib names it.
    """

    colour: str
    dash: tuple[float, ...]
    hatch: str
    marker: str


def look(place: int) -> Look:
    """The look of the entrant at a place; the first 35 differ in any two respects."""
    return Look(
        _COLOURS[place % len(_COLOURS)],
        _DASHES[place % len(_DASHES)],
        _HATCHES[place % len(_HATCHES)],
        _MARKERS[place % len(_MARKERS)],
    )
