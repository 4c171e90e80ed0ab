"""Inputs of cases: all if there are few, else drawn ones; balanced if the case declares it."""

import functools
import itertools

import jax
import numpy as np
import pytest
from tracr.rasp import rasp

from interpbench_jax.cases import (
    PADDING,
    Case,
    CaseInputs,
    Mixture,
    all_sequences,
    case_names,
    get_case,
    n_sequences,
    sample_pairs,
    sample_sequences,
    samplers,
    sequences,
)
from interpbench_jax.tasks.splits import distinct_pairs

KEY = jax.random.key(3)
BALANCED = ("1", "5", "17", "89", "94", "108", "109", "124", "125", "129")
# (case, kind of input, the program's answer if defined)
KINDS = [
    ("1", samplers.with_period_two, True),
    ("5", samplers.shuffled_brackets, True),
    ("17", samplers.palindromes, True),
    ("89", samplers.ascending, 1),
    ("94", samplers.descending, 1),
    ("108", samplers.all_distinct, 0),
    ("108", samplers.one_repeat, 1),
    ("109", samplers.repeated_end, 1),
    ("124", samplers.all_same, 1),
    ("124", samplers.all_but_one_same, 0),
    ("125", samplers.alternating_parity, 1),
    ("129", samplers.only_even, 1),
    ("129", samplers.one_odd, 0),
]
# Share of 1 or True among defined outputs: of the declared mixture, and of uniform inputs.
SHARES = {
    "1": (1 / 6 + 5 / 6 / 5, 1 / 5),
    "5": (1 / 2, 0.0047),
    "17": (1 / 2 + 1 / 2 * (1 / 9 + 8 / 90), 1 / 9 + 8 / 90),
    "89": (1 / 2, 7e-6),
    "94": (1 / 2, 4e-5),
    "108": (1 / 2 * 0.9915, 0.9915),
    "109": (1 / 2, 1 / 11),
    "124": (1 / 2, 5e-9),
    "125": (1 / 2, 0.004),
    "129": (1 / 2, 0.002),
}


def test_half_of_the_inputs_of_case_113_are_ascending_and_others_nearly() -> None:
    """Uniform ones practically never are; a program that copied would be right on them."""
    rows = sample_sequences(get_case("113"), 2_000, KEY)
    falls = (np.diff(rows, axis=1) < 0).sum(1)
    assert abs((falls == 0).mean() - 0.55) < 0.05
    assert abs((falls == 1).mean() - 0.2) < 0.05


def test_one_descent_changes_the_order_only() -> None:
    drawn = jax.random.randint(KEY, (200, 9), 0, 30)
    found = np.asarray(samplers.one_descent(jax.random.key(1), drawn, 30))
    np.testing.assert_array_equal(np.sort(found, axis=1), np.sort(drawn, axis=1))
    falls = (np.diff(found, axis=1) < 0).sum(1)
    assert falls.max() == 1 and falls.mean() > 0.6  # none if the two are equal
    one = samplers.one_descent(KEY, drawn[:, :1], 30)
    np.testing.assert_array_equal(one, drawn[:, :1])


@functools.cache
def answers(name: str, uniform: bool = False) -> np.ndarray:
    """The program's defined outputs on 400 drawn inputs, as numbers."""
    case = get_case(name)
    drawn = sample_sequences(case, 400, KEY)
    if uniform:
        drawn = np.asarray(jax.random.randint(KEY, drawn.shape, 0, len(case.vocab)))
    return defined_answers(name, drawn)


def defined_answers(name: str, rows: np.ndarray) -> np.ndarray:
    case = get_case(name)
    program = case.program()
    outputs = [program([case.vocab[i] for i in row]) for row in rows]
    return np.array([value for output in outputs for value in output if value is not None], float)


@pytest.mark.parametrize("name", ["3", "13", "119"])
def test_all_sequences_are_complete_and_distinct(name: str) -> None:
    case = get_case(name)
    found = all_sequences(case)
    expected = itertools.product(range(len(case.vocab)), repeat=case.n_ctx - 1)
    assert found.tolist() == [list(row) for row in expected]
    assert len(found) == n_sequences(case)


def test_sequences_are_drawn_if_there_are_many() -> None:
    case = get_case("3")
    assert (sequences(case, 256, KEY) == all_sequences(case)).all()
    assert (sequences(case, 255, KEY) == sample_sequences(case, 255, KEY)).all()
    assert sequences(case, 255, KEY).shape == (255, 4)


@pytest.mark.parametrize("name", case_names())
def test_samples_are_deterministic_and_in_the_vocabulary(name: str) -> None:
    case = get_case(name)
    drawn = sample_sequences(case, 200, KEY)
    assert drawn.shape == (200, case.n_ctx - 1)
    assert np.issubdtype(drawn.dtype, np.integer)
    assert drawn.min() >= 0 and drawn.max() < len(case.vocab)
    assert (drawn == sample_sequences(case, 200, KEY)).all()
    assert (drawn != sample_sequences(case, 200, jax.random.key(4))).any()


def test_which_cases_are_balanced() -> None:
    drawn = {name for name in case_names() if get_case(name).sampler is not None}
    assert drawn == {*BALANCED, "113"}  # which answers with a sequence


def test_samples_are_uniform_without_a_sampler() -> None:
    """Every token is as frequent as any other at every position, and so are pairs of them."""
    drawn = sample_sequences(get_case("3"), 40_000, KEY)
    for place in range(4):
        counts = np.bincount(drawn[:, place], minlength=4)
        assert abs(counts - 10_000).max() < 350  # 4 standard deviations
    pairs = np.bincount(drawn[:, 0] * 4 + drawn[:, 1], minlength=16)
    assert abs(pairs - 2_500).max() < 200


@pytest.mark.parametrize("name", BALANCED)
def test_samples_are_balanced(name: str) -> None:
    """The share of positive answers is the declared one; uniform inputs give another."""
    mixture, uniform = SHARES[name]
    assert answers(name).mean() == pytest.approx(mixture, abs=0.075)
    assert answers(name, uniform=True).mean() == pytest.approx(uniform, abs=0.03)


@pytest.mark.parametrize(
    ("name", "make", "answer"), KINDS, ids=[make.__name__ for _, make, _ in KINDS]
)
def test_each_kind_of_input_gets_its_answer(name: str, make, answer) -> None:
    case = get_case(name)
    drawn = jax.random.randint(KEY, (100, case.n_ctx - 1), 0, len(case.vocab))
    made = np.asarray(make(KEY, drawn, len(case.vocab)))
    assert made.shape == drawn.shape
    assert made.min() >= 0 and made.max() < len(case.vocab)
    assert len(np.unique(made, axis=0)) > (8 if make is samplers.all_same else 20)
    assert (defined_answers(name, made) == answer).all()


@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_shuffled_brackets_are_uniform(length: int) -> None:
    """Each balanced sequence is drawn as often as any other."""
    program, vocab = get_case("5").program(), get_case("5").vocab
    every = itertools.product(range(5), repeat=length)
    balanced = [row for row in every if all(program([vocab[i] for i in row]))]
    drawn = jax.random.randint(KEY, (20_000, length), 0, 5)
    made = np.asarray(samplers.shuffled_brackets(KEY, drawn, 5))
    found, counts = np.unique(made, axis=0, return_counts=True)
    assert found.tolist() == [list(row) for row in balanced]
    expected = len(drawn) / len(balanced)
    assert abs(counts - expected).max() < 5 * np.sqrt(expected)


def test_neighbouring_samples_are_independent() -> None:
    """Consecutive rows become a pair of base and source."""
    even = (sample_sequences(get_case("129"), 20_000, KEY) % 2 == 0).all(1).reshape(-1, 2)
    assert np.corrcoef(even.T)[0, 1] == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize("shares", [(), (0.0,), (0.7, 0.4), (-0.1, 0.2)])
def test_probabilities_are_checked(shares: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="probabilities must be positive"):
        Mixture(tuple((share, samplers.all_same) for share in shares))


def test_all_sequences_of_several_lengths() -> None:
    case = get_case("3")
    found = all_sequences(case, min_length=2)
    assert len(found) == n_sequences(case, min_length=2) == 16 + 64 + 256
    assert len(np.unique(found, axis=0)) == len(found)
    assert (found[:16, :2] == list(itertools.product(range(4), repeat=2))).all()
    assert (found[:16, 2:] == PADDING).all() and (found[80:] != PADDING).all()


@pytest.mark.parametrize(
    "name", ["3", "5", *(pytest.param(n, marks=pytest.mark.slow) for n in BALANCED if n != "5")]
)
def test_lengths_are_equally_likely_and_drawn_as_declared(name: str) -> None:
    case = get_case(name)
    drawn = sample_sequences(case, 6_000, KEY, min_length=1)
    lengths = (drawn != PADDING).sum(1)
    assert ((drawn != PADDING) == (np.arange(case.n_ctx - 1)[None] < lengths[:, None])).all()
    assert drawn.max() < len(case.vocab)
    share = 1 / (case.n_ctx - 1)
    spread = 4.5 * np.sqrt(share * (1 - share) / 6_000)
    for length in range(1, case.n_ctx):
        assert (lengths == length).mean() == pytest.approx(share, abs=spread)
    if name in SHARES:
        full = drawn[lengths == case.n_ctx - 1][:400]
        assert defined_answers(name, full).mean() == pytest.approx(SHARES[name][0], abs=0.09)


def five_by_five() -> Case:
    """It has as many tokens as lengths: with one key, both draws would be equal."""
    return Case(name="five", title="", program=lambda: rasp.tokens, vocab=tuple("abcde"), n_ctx=6)


def test_lengths_and_tokens_are_independent() -> None:
    drawn = sample_sequences(five_by_five(), 25_000, KEY, min_length=1)
    lengths = (drawn != PADDING).sum(1)
    counts = np.bincount(5 * (lengths - 1) + drawn[:, 0], minlength=25)
    assert abs(counts - 1_000).max() < 4.5 * np.sqrt(1_000)
    base, source = sample_pairs(five_by_five(), 25_000, KEY, min_length=1)
    counts = np.bincount(5 * base[:, 0] + source[:, 0], minlength=25)
    assert abs(counts - 1_000).max() < 4.5 * np.sqrt(1_000)


def test_sequences_of_different_lengths_are_independent() -> None:
    """With one key, row 3n of length 4 would begin like row 4n of length 3."""
    drawn = sample_sequences(five_by_five(), 40_000, KEY, min_length=3)
    lengths = (drawn != PADDING).sum(1)
    rows = np.arange(10_000)
    both = (lengths[3 * rows] == 4) & (lengths[4 * rows] == 3)
    same = (drawn[3 * rows, :3] == drawn[4 * rows, :3]).all(1)[both]
    assert both.sum() > 1_000
    assert same.mean() == pytest.approx(1 / 125, abs=0.015)


@pytest.mark.parametrize("distinct", [False, True])
def test_pairs_have_one_length(distinct: bool) -> None:
    inputs = CaseInputs(get_case("13"), 3)
    draw = distinct_pairs(inputs, 1_000, KEY) if distinct else inputs.sample_pairs(1_000, KEY)
    base, source = draw
    assert ((base == PADDING) == (source == PADDING)).all()
    assert set((base != PADDING).sum(1).tolist()) == {3, 4, 5, 6, 7, 8, 9}
    assert (base != source).any(1).mean() > 0.9


def test_distinct_pairs_are_all_if_there_are_few() -> None:
    base, source = distinct_pairs(CaseInputs(get_case("3"), 2), 16**2 + 64**2 + 256**2, KEY)
    found = np.concatenate([base, source], 1)
    assert len(np.unique(found, axis=0)) == len(found) == 16**2 + 64**2 + 256**2
    base, source = distinct_pairs(CaseInputs(get_case("3")), 5_000, KEY)
    found = np.concatenate([base, source], 1)
    assert len(np.unique(found, axis=0)) == len(found)
    assert 4_700 < len(found) < 5_000


@pytest.mark.parametrize("min_length", [0, 5, -1])
def test_the_shortest_length_is_checked(min_length: int) -> None:
    with pytest.raises(ValueError, match=f"between 1 and 4.*case 3, got {min_length}"):
        sample_sequences(get_case("3"), 10, KEY, min_length=min_length)
