"""Text of a share of right answers, in tables and on the terminal."""

import math


def rounded_down(share: float | None) -> str:
    """A share with four digits, rounded down, so that 1.0000 is exact; `-` if it is unknown.

    Args:
      share: a share; None or NaN if it is unknown.
    """
    if share is None or math.isnan(share):
        return "-"
    return f"{math.floor(share * 1e4 + 1e-6) / 1e4:.4f}"
