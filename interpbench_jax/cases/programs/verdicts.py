"""Programs that decide one question about the whole sequence, with the answer everywhere."""

from tracr.rasp import rasp

from interpbench_jax.cases.programs.blocks import (
    attend,
    constant,
    count_zeros,
    nowhere_zero,
    previous_or_self,
    scatter,
    unnamed_length,
)
from interpbench_jax.cases.registry import case
from interpbench_jax.cases.samplers import (
    Mixture,
    all_but_one_same,
    all_distinct,
    all_same,
    alternating_parity,
    ascending,
    descending,
    one_descent,
    one_odd,
    one_repeat,
    only_even,
)

UP_TO_TEN = tuple(range(11))
BELOW_THIRTY = tuple(range(30))


def _rises() -> rasp.SOp:
    """1 where the element is at least the one before, else 0; 1 at the first."""
    before = previous_or_self(rasp.tokens)
    return rasp.SequenceMap(lambda x, y: int(x <= y), before, rasp.tokens)


def _any_true(n_true: rasp.SOp) -> rasp.SOp:
    return rasp.Map(lambda n: int(n > 0), n_true)


@case("89", vocab=UP_TO_TEN, n_ctx=11, sampler=Mixture(((0.5, ascending),)))
def is_ascending() -> rasp.SOp:
    """1 everywhere if no element is smaller than the one before, else 0."""
    return nowhere_zero(_rises())


@case("94", vocab=UP_TO_TEN, sampler=Mixture(((0.5, descending),)))
def is_descending() -> rasp.SOp:
    """1 everywhere if no element is greater than the one before, else 0."""
    before = previous_or_self(rasp.tokens)
    return nowhere_zero(rasp.SequenceMap(lambda x, y: int(x >= y), before, rasp.tokens))


@case("108", vocab=UP_TO_TEN, sampler=Mixture(((0.5, all_distinct), (0.25, one_repeat))))
def has_repeats() -> rasp.SOp:
    """1 everywhere if some element occurs more than once, else 0."""
    same = rasp.Select(rasp.tokens, rasp.tokens, lambda key, query: key == query)
    count = rasp.SelectorWidth(same)
    repeated = rasp.Select(count, constant(2), rasp.Comparison.GEQ)
    return _any_true(rasp.SelectorWidth(repeated))


@case("113", vocab=BELOW_THIRTY, sampler=Mixture(((0.5, ascending), (0.25, one_descent))))
def reverse_if_ascending() -> rasp.SOp:
    """The sequence reversed if it is ascending, else unchanged.

    Each position keeps its distance from the middle; the verdict decides the side.
    """
    n_tokens = unnamed_length()
    middle = rasp.Map(lambda n: (n - 1) / 2, n_tokens)
    side = rasp.Map(lambda n_falls: 1 if n_falls else -1, count_zeros(_rises()))
    distance = side * (rasp.indices - middle)
    return scatter(rasp.tokens, middle + distance)


@case("124", vocab=UP_TO_TEN, sampler=Mixture(((0.5, all_same), (0.25, all_but_one_same))))
def all_equal() -> rasp.SOp:
    """1 everywhere if all elements are equal, else 0."""
    different = rasp.Select(rasp.tokens, rasp.tokens, lambda key, query: key != query)
    return _any_true(count_zeros(rasp.SelectorWidth(different)))


@case("125", vocab=UP_TO_TEN, sampler=Mixture(((0.5, alternating_parity),)))
def parity_alternates() -> rasp.SOp:
    """1 everywhere if even and odd elements take turns, else 0."""
    neighbour = attend(rasp.tokens, lambda key, query: key == (query - 1 if query else 1))
    expected = rasp.Map(lambda x: (x + 1) % 2, neighbour)
    actual = rasp.Map(lambda x: x % 2, rasp.tokens)
    return nowhere_zero(rasp.SequenceMap(lambda x, y: int(x == y), expected, actual))


@case("129", vocab=BELOW_THIRTY, sampler=Mixture(((0.5, only_even), (0.25, one_odd))))
def all_even() -> rasp.SOp:
    """1 everywhere if all elements are even, else 0."""
    is_even = rasp.Map(lambda x: int(x % 2 == 0), rasp.tokens).named("check_multiple_of_2")
    return nowhere_zero(is_even)
