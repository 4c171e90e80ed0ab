"""Statistical comparison of methods: tests, effect sizes and intervals over cases.

Results are a table `[case, method]`, NaN where a method has no result. A case counts once: average
its seeds first.
"""

import functools
import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats

from interpbench_jax.alignment.subsets import every_subset

Table = Float[np.ndarray, "case method"]
# The signed-rank test is computed from all patterns of signs: 8,192 for 13 cases.
_FEW_CASES = 13


class Comparison(NamedTuple):
    """One pair of methods, over the cases for which both have results.

    Attributes:
      first: name of a method.
      second: name of another method.
      n_cases: number of cases for which both have results.
      difference: mean of the first minus mean of the second.
      p_value: p-value of Wilcoxon's signed-rank test, two-sided.
      p_holm: p-value corrected for the number of pairs.
      a12: probability that a result of the first is above a result of the second.
    """

    first: str
    second: str
    n_cases: int
    difference: float
    p_value: float
    p_holm: float
    a12: float


class Place(NamedTuple):
    """A method's place in the ranking, with 95 % intervals.

    Attributes:
      method: name of the method.
      n_cases: number of cases.
      mean: mean of its results.
      low: lower end of the interval of the mean.
      high: upper end of the interval of the mean.
      rank: rank by the mean, 1 is best; equal means share the best rank.
      best_rank: best rank in the interval of the rank.
      worst_rank: worst rank in the interval of the rank.
    """

    method: str
    n_cases: int
    mean: float
    low: float
    high: float
    rank: float
    best_rank: float
    worst_rank: float


def signed_rank(first: Float[np.ndarray, " case"], second: Float[np.ndarray, " case"]) -> float:
    """Wilcoxon's signed-rank test of paired results.

    Cases with equal results are dropped. The p-value is exact for up to 13 cases that differ, from
    the rank sums of all patterns of signs; and by scipy's rule for up to 50 if no two differences
    tie. Otherwise it comes from the normal approximation.

    Returns:
      The two-sided p-value; 1 if no case differs, NaN if there is no case or a result is NaN.
    """
    if not len(first) or np.isnan(first).any() or np.isnan(second).any():
        return float("nan")
    # Without rounding, differences that are equal up to float errors would get different ranks.
    differences = np.round(first - second, 9)
    differences = differences[differences != 0]
    if not len(differences):
        return 1.0
    if len(differences) > _FEW_CASES:
        return float(stats.wilcoxon(differences).pvalue)
    # scipy's permutation test gives the same, but calls its statistic once per pattern.
    ranks = stats.rankdata(np.abs(differences))
    found, possible = ranks @ (differences > 0), _sign_patterns(len(ranks)) @ ranks
    return float(min(1.0, 2 * min((possible <= found).mean(), (possible >= found).mean())))


@functools.cache
def _sign_patterns(n_cases: int) -> Float[np.ndarray, "pattern case"]:
    """All patterns of positive (1) and negative (0) differences."""
    return every_subset(n_cases).astype(float)


def holm(p_values: Float[np.ndarray, " test"]) -> Float[np.ndarray, " test"]:
    """p-values corrected for multiple tests by Holm's step-down form of Bonferroni's correction.

    NaN does not count as a test and stays NaN.

    Source: Holm 1979, A simple sequentially rejective multiple test procedure.
    """
    corrected = np.full(len(p_values), np.nan)
    tests = np.flatnonzero(~np.isnan(p_values))
    order = tests[np.argsort(p_values[tests], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(factors * p_values[order]), 1.0)
    return corrected


def a12(first: Float[np.ndarray, " case"], second: Float[np.ndarray, " other"]) -> float:
    """The probability that a result of the first is above one of the second; ties count half.

    0.5 is no difference; 0.56, 0.64 and 0.71 are called small, medium and large. All pairs of
    results count, including those of different cases.

    Source: Vargha and Delaney 2000.
    """
    above = stats.mannwhitneyu(first, second).statistic if len(first) and len(second) else np.nan
    return float(above / max(len(first) * len(second), 1))


def mean_interval(values: Float[np.ndarray, " case"], *, seed: int = 0) -> tuple[float, float]:
    """95 % interval of the mean over cases, by the percentile bootstrap.

    Args:
      values: one result per case.
      seed: seed of the resampling.

    Returns:
      Lower and upper end; NaN with fewer than two cases.
    """
    if len(values) < 2:
        return float("nan"), float("nan")
    found = stats.bootstrap(
        (values,), np.mean, method="percentile", rng=np.random.default_rng(seed)
    ).confidence_interval
    return float(found.low), float(found.high)


def compare(table: Table, methods: Sequence[str]) -> list[Comparison]:
    """Compares every pair of methods over the cases for which both have results.

    Args:
      table: results.
      methods: names of its columns.
    """
    pairs = list(itertools.combinations(range(len(methods)), 2))
    both = [table[~np.isnan(table[:, list(pair)]).any(1)][:, list(pair)] for pair in pairs]
    p_values = np.array([signed_rank(values[:, 0], values[:, 1]) for values in both], float)
    return [
        Comparison(
            first=methods[i],
            second=methods[j],
            n_cases=len(values),
            difference=float(np.diff(values[:, ::-1]).mean()) if len(values) else float("nan"),
            p_value=float(p),
            p_holm=float(p_holm),
            a12=a12(values[:, 0], values[:, 1]),
        )
        for (i, j), values, p, p_holm in zip(pairs, both, p_values, holm(p_values), strict=True)
    ]


def ranking(
    table: Table, methods: Sequence[str], *, n_resamples: int = 2_000, seed: int = 0
) -> list[Place]:
    """Ranks methods by their mean over the cases for which all have results, the best first.

    Intervals come from resampling cases, with the same samples for all methods.

    Args:
      table: results.
      methods: names of its columns.
      n_resamples: number of resamples.
      seed: seed of the resampling.

    Returns:
      A place per method; all numbers but `n_cases` are NaN if no case has results of all methods.
    """
    complete = table[~np.isnan(table).any(1)]
    n_cases, n_methods = complete.shape
    if not n_cases:
        nan = float("nan")
        return [Place(method, 0, nan, nan, nan, nan, nan, nan) for method in methods]
    rng = np.random.default_rng(seed)
    drawn = complete[rng.integers(n_cases, size=(n_resamples, n_cases))].mean(1)
    ranks = stats.rankdata(-np.round(drawn, 9), method="min", axis=1)
    best, worst = np.percentile(ranks, [2.5, 97.5], axis=0, method="closest_observation")
    means = complete.mean(0)
    rank = stats.rankdata(-np.round(means, 9), method="min")
    places = []
    for place in range(n_methods):
        low, high = mean_interval(complete[:, place], seed=seed)
        places.append(
            Place(
                methods[place],
                n_cases,
                float(means[place]),
                low,
                high,
                float(rank[place]),
                float(best[place]),
                float(worst[place]),
            )
        )
    return sorted(places, key=lambda found: found.rank)
