"""The paper's table gives the paper's statistics; small tables are computed by hand."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from interpbench_jax.benchmark.paper import published
from interpbench_jax.scoring import a12, compare, holm, mean_interval, ranking, signed_rank

PAPER = published()
TABLE = np.array(PAPER["auroc"], float)
METHODS = PAPER["methods"]


def column(method):
    return TABLE[:, METHODS.index(method)]


def test_means_of_the_paper():
    np.testing.assert_allclose(TABLE.mean(0), PAPER["mean"], atol=6e-4)


@pytest.mark.parametrize("pair", PAPER["pairs"], ids=lambda p: f"{p['first']}-{p['second']}")
def test_statistics_of_the_paper(pair):
    """To the printed digits; rounding of the table changes A12 by up to 0.002.

    The p-value of ACDC and EAP-IG depends on ties due to rounding to three digits: see below.
    """
    first, second = column(pair["first"]), column(pair["second"])
    assert a12(first, second) == pytest.approx(pair["a12"], abs=0.002)
    if pair["p_value"] != 0.0995:
        assert as_in_the_paper(first, second) == pytest.approx(pair["p_value"], rel=0.08)


def as_in_the_paper(first, second):
    """Exact if no case is equal for both, even with ties: scipy's rule up to version 1.12."""
    differences = np.round(first - second, 9)
    method = "exact" if differences.all() else "asymptotic"
    return stats.wilcoxon(differences[differences != 0], method=method).pvalue


def test_the_paper_s_p_value_of_acdc_and_eap_ig_lies_within_the_rounding_of_its_table():
    """The printed table gives .1167; unrounded tables that print the same give .1167 or .0995."""
    first, second = column("acdc"), column("eap_ig_masks")
    assert as_in_the_paper(first, second) == pytest.approx(0.1167, abs=1e-4)
    rng = np.random.default_rng(0)
    moved = rng.uniform(-0.0005, 0.0005, (2, 200, len(first))).sum(0) * (first != second)
    found = {round(as_in_the_paper(first + by, second), 4) for by in moved}
    assert found == {0.1167, 0.0995}


def test_which_form_of_the_test_the_paper_used():
    """Exact if no case is equal, else normal without correction: no single form fits both."""

    def p_value(first, second, method):
        differences = np.round(column(first) - column(second), 9)
        return stats.wilcoxon(differences[differences != 0], method=method).pvalue

    assert p_value("acdc", "eap", "exact") == pytest.approx(6e-5, rel=0.02)
    assert p_value("acdc", "eap", "asymptotic") > 5e-4
    assert p_value("eap", "eap_ig_masks", "asymptotic") == pytest.approx(6.5e-4, rel=0.01)
    assert p_value("eap", "eap_ig_masks", "exact") < 1e-4


def test_tied_differences_do_not_use_the_distribution_without_ties():
    """Four of 16 cases differ by 1.000 between ACDC and EAP."""
    assert signed_rank(column("acdc"), column("eap")) == pytest.approx(6e-4, rel=0.3)


@pytest.mark.parametrize(
    "differences", [[1, 1, 2], [1, 1, 1, -1, 2], [3, -1, -1, 2, 2, 5], [0, 1, 1, -2, 3, 0, 4]]
)
def test_few_tied_differences_are_tested_by_all_signs(differences):
    """The share of all sign choices whose sum of positive ranks is as far from the middle."""
    kept = np.array([d for d in differences if d])
    ranks = stats.rankdata(np.abs(kept))
    signs = np.array(list(itertools.product([0, 1], repeat=len(kept))))
    apart = np.abs(signs @ ranks - ranks.sum() / 2)
    expected = (apart >= np.abs((kept > 0) @ ranks - ranks.sum() / 2) - 1e-9).mean()
    found = signed_rank(np.array(differences, float), np.zeros(len(differences)))
    assert found == pytest.approx(expected)


@given(st.lists(st.integers(-4, 4).filter(bool), min_size=2, max_size=9))
def test_few_cases_get_the_p_value_of_scipy_s_permutation_test(differences):
    """Also beside many cases that do not differ."""
    values = np.array(differences, float)
    every = stats.PermutationMethod(n_resamples=2 ** len(values))
    expected = stats.wilcoxon(values, method=every).pvalue
    assert signed_rank(values, np.zeros(len(values))) == pytest.approx(expected)
    among_equal = np.concatenate([values, np.zeros(50)])
    assert signed_rank(among_equal, np.zeros(len(among_equal))) == pytest.approx(expected)


def test_signed_rank_by_hand():
    """Ranks 1, 2, 3, all for the first: 1 of 8 sign choices is as extreme on each side."""
    assert signed_rank(np.array([0.5, 0.7, 0.9]), np.array([0.4, 0.5, 0.6])) == pytest.approx(2 / 8)
    assert signed_rank(np.array([0.5, 0.7]), np.array([0.5, 0.7])) == 1.0
    assert np.isnan(signed_rank(np.array([]), np.array([])))
    assert np.isnan(signed_rank(np.array([np.nan, 0.5, 0.6]), np.array([0.2, 0.3, 0.1])))


def test_holm_by_hand():
    """.01 times 3, .03 times 2, .04 times 1 but at least the one before."""
    found = holm(np.array([0.04, 0.01, np.nan, 0.03]))
    np.testing.assert_allclose(found, [0.06, 0.03, np.nan, 0.06])
    np.testing.assert_allclose(holm(np.array([0.6, 0.7])), [1, 1])


def test_a12_by_hand():
    """The first wins 3 of 6 pairs, and two are equal."""
    assert a12(np.array([3.0, 2.0]), np.array([1.0, 2.0, 3.0])) == pytest.approx((3 + 2 / 2) / 6)
    assert np.isnan(a12(np.array([]), np.array([1.0])))


@given(st.lists(st.integers(0, 4), min_size=1), st.lists(st.integers(0, 4), min_size=1))
def test_a12_of_the_swapped_pair_is_the_complement(first, second):
    first, second = np.array(first, float), np.array(second, float)
    assert a12(first, second) + a12(second, first) == pytest.approx(1)
    assert signed_rank(first, first) == 1.0


def test_intervals():
    assert mean_interval(np.full(5, 0.25)) == (0.25, 0.25)
    low, high = mean_interval(column("edge_probing"))
    assert 0.6 < low < column("edge_probing").mean() < high < 0.95
    assert (low, high) == mean_interval(column("edge_probing"))
    assert np.isnan(mean_interval(np.array([0.5]))).all()


@pytest.mark.parametrize(
    ("values", "interval"),
    [([0.0, 0.0, 1.0], (0, 1)), ([0.0, 0.0, 0.0, 1.0, 1.0], (0, 4 / 5))],
)
def test_intervals_leave_out_2_5_percent_at_each_end(values, interval):
    """Of all resamples, (1/3)^3 = 3.7 % are all ones in the first, (2/5)^5 = 1 % in the second."""
    assert mean_interval(np.array(values)) == pytest.approx(interval)


def test_ranking_of_the_paper():
    places = ranking(TABLE, METHODS)
    assert [place.method for place in places] == [
        "acdc", "eap_ig_masks", "edge_probing", "node_probing", "eap"
    ]  # fmt: skip
    assert [place.rank for place in places] == [1, 2, 3, 4, 5]
    for place in places:
        assert place.best_rank <= place.rank <= place.worst_rank
        assert place.low < place.mean < place.high
        assert place.n_cases == 16
    assert places[-1].best_rank == 5  # EAP is last in every resample of the cases


@pytest.mark.parametrize(("n_cases", "ranks"), [(3, (1, 2)), (4, (1, 1))])
def test_intervals_of_ranks_leave_out_2_5_percent_at_each_end(n_cases, ranks):
    """The first method is worse only if its bad case is drawn every time: 1/27 or 1/256."""
    table = np.full((n_cases, 2), 0.1)
    table[:, 0] = [0.0, *[1.0] * (n_cases - 1)]
    first, second = ranking(table, ["first", "second"], n_resamples=20_000)
    assert (first.best_rank, first.worst_rank) == ranks
    assert (second.best_rank, second.worst_rank) == (3 - ranks[1], 3 - ranks[0])


def test_methods_that_differ_by_a_constant_never_swap_ranks():
    """All methods have the same resamples, so that hard cases are hard for all."""
    scores = np.random.default_rng(0).random(10)
    places = ranking(np.stack([scores - 0.01, scores], 1), ["lower", "upper"])
    assert [place.method for place in places] == ["upper", "lower"]
    assert [(place.best_rank, place.worst_rank) for place in places] == [(1, 1), (2, 2)]


def test_ranks_of_resamples_equal_a_bootstrap_by_loops():
    """Three methods over eight cases; the 50th ranks from each end of 2,000."""
    table = np.random.default_rng(1).random((8, 3))
    rng = np.random.default_rng(5)
    ranks = []
    for rows in rng.integers(8, size=(2_000, 8)):
        means = [sum(table[row, method] for row in rows) for method in range(3)]
        ranks.append([1 + sum(other > mean for other in means) for mean in means])
    ordered = np.sort(ranks, 0)
    for place in ranking(table, ["0", "1", "2"], seed=5):
        expected = ordered[49, int(place.method)], ordered[-51, int(place.method)]
        assert (place.best_rank, place.worst_rank) == expected


def test_cases_with_missing_results_are_left_out():
    table = np.array([[0.9, 0.1, 0.2], [0.8, 0.2, np.nan], [0.7, 0.3, 0.1]])
    by_pair = {(c.first, c.second): c for c in compare(table, ["a", "b", "c"])}
    assert by_pair["a", "b"].n_cases == 3
    assert by_pair["a", "c"].n_cases == 2
    assert by_pair["a", "b"].difference == pytest.approx(0.6)
    assert by_pair["a", "b"].p_holm == pytest.approx(min(3 * by_pair["a", "b"].p_value, 1))
    places = ranking(table, ["a", "b", "c"])
    assert {place.n_cases for place in places} == {2}
    assert places[0].mean == pytest.approx(0.8)


def test_equal_methods_share_a_rank():
    places = ranking(np.array([[0.5, 0.5, 0.4]] * 3), ["a", "b", "c"])
    assert [place.rank for place in places] == [1, 1, 3]
    assert [place.worst_rank for place in places] == [1, 1, 3]


def test_no_common_case_gives_no_rank():
    for place in ranking(np.array([[0.5, np.nan], [np.nan, 0.5]]), ["a", "b"]):
        assert place.n_cases == 0
        assert np.isnan(place.rank)
