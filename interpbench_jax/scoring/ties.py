"""The n best items when several are equally good."""

import itertools
import math

import numpy as np
from jaxtyping import Bool, Float

N_CHOICES = 16
"""The most ways to break a tie that are evaluated if each needs a run of a circuit."""


def n_best(
    values: Float[np.ndarray, " item"], n: int, *, at_most: int = N_CHOICES
) -> Bool[np.ndarray, "choice item"]:
    """The `n` best items, once for every choice among those that tie for the last places.

    Averaging a result over the choices gives its expected value over the orders of equal items. All
    choices are listed if there are few; otherwise `at_most` of them are drawn with a fixed seed, so
    the same values give the same choices.

    Args:
      values: larger is better.
      n: number of items; all if there are fewer.
      at_most: the largest number of choices.
    """
    sure, tied, room = places(values, n)
    among = np.flatnonzero(tied)
    n_choices = math.comb(len(among), room)
    if n_choices <= at_most:
        every = itertools.combinations(among, room)
        chosen = np.array([*every], int).reshape(n_choices, room)
    else:
        rng = np.random.default_rng(0)
        chosen = rng.permuted(np.tile(among, (at_most, 1)), axis=1)[:, :room]
    marked = np.tile(sure, (len(chosen), 1))
    np.put_along_axis(marked, chosen, True, axis=1)
    return marked


def places(
    values: Float[np.ndarray, " item"], n: int
) -> tuple[Bool[np.ndarray, " item"], Bool[np.ndarray, " item"], int]:
    """Items that are certainly among the `n` best, items that tie, and how many of these are.

    Args:
      values: larger is better.
      n: number of items; all if there are fewer.
    """
    if n <= 0:
        return np.zeros(len(values), bool), np.zeros(len(values), bool), 0
    last = np.sort(values)[-min(n, len(values))]
    sure, tied = values > last, values == last
    room = min(n, len(values)) - int(sure.sum())
    return (sure | tied, np.zeros_like(tied), 0) if room == tied.sum() else (sure, tied, room)


def expected_positives(
    values: Float[np.ndarray, " item"], positive: Bool[np.ndarray, " item"], n: int
) -> float:
    """The expected number of positive items among the `n` best, over the orders of equal items.

    Args:
      values: larger is better.
      positive: which items are positive.
      n: number of items; all if there are fewer.
    """
    sure, tied, room = places(values, n)
    of_tied = positive[tied].mean() if room else 0.0
    return float(positive[sure].sum() + room * of_tied)
