"""Which items may be the n best where several are equally good."""

import itertools
import math

import numpy as np
from jaxtyping import Bool, Float

N_CHOICES = 16
"""How many ways to break a tie are looked at where a circuit has to be run for each."""


def n_best(
    values: Float[np.ndarray, " item"], n: int, *, at_most: int = N_CHOICES
) -> Bool[np.ndarray, "choice item"]:
    """The `n` best, once for every way to choose among those that tie for the last places.

    What is computed of the choices is to be averaged: that is its expected value over the orders
    of equal items. All ways are listed if there are few, else `at_most` of them are drawn, by a
    generator of its own, so that the same values give the same choices.

    Args:
      values: the larger, the better.
      n: how many; all if there are fewer.
      at_most: how many choices to return.
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
    """Which items are among the `n` best for sure, which tie for the rest, and how many of those.

    Args:
      values: the larger, the better.
      n: how many; all if there are fewer.
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
    """How many of the `n` best are positive: the mean over the orders of equal items.

    Args:
      values: the larger, the better.
      positive: which items are.
      n: how many; all if there are fewer.
    """
    sure, tied, room = places(values, n)
    of_tied = positive[tied].mean() if room else 0.0
    return float(positive[sure].sum() + room * of_tied)
