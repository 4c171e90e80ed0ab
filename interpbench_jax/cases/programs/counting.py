"""Programs that count positions."""

from tracr.rasp import rasp

from interpbench_jax.cases.programs.blocks import (
    count_compared,
    histogram,
    length,
    running_fraction,
)
from interpbench_jax.cases.registry import case

UP_TO_TEN = tuple(range(11))


def _running_fraction_of_x() -> rasp.SOp:
    return running_fraction(rasp.numerical(rasp.tokens == "x").named("is_x"))


@case("3", vocab="abcx", n_ctx=5, causal=True, realign=(("a1.h0", "a1.h2"),))
def running_fraction_of_x() -> rasp.SOp:
    """Running fraction of the token x."""
    return _running_fraction_of_x()


@case("7", vocab="abc", compression=1.5, sized_by="d_model")
def frequency() -> rasp.SOp:
    """How often each token occurs."""
    return histogram()


@case("14", vocab="abc")
def count_of_a() -> rasp.SOp:
    """How often the token a occurs, everywhere."""
    is_a = rasp.Select(rasp.tokens, rasp.tokens, lambda key, query: key == "a")
    return rasp.SelectorWidth(is_a).named("count_a")


@case("18", vocab="abcde", compression=1.6, sized_by="d_model")
def frequency_class() -> rasp.SOp:
    """Each token's share of the sequence: frequent above 1/2, common above 1/4, else rare."""

    def frequency_class_of(count: int, n: int) -> str:
        if count > n / 2:
            return "frequent"
        return "common" if count > n / 4 else "rare"

    return rasp.SequenceMap(frequency_class_of, histogram(), length())


@case("25", vocab="abc", compression=1.5, sized_by="d_model")
def frequency_share() -> rasp.SOp:
    """Each token's share of the sequence."""
    return rasp.SequenceMap(lambda count, n: count / n if n else None, histogram(), length())


@case("39", vocab="abcdefghijklmnopqrstuvwxyz", n_ctx=60, causal=True)
def running_fraction_of_x_in_long_sequences() -> rasp.SOp:
    """Running fraction of the token x, over long sequences of letters."""
    return _running_fraction_of_x()


@case("44", vocab=UP_TO_TEN)
def count_greater() -> rasp.SOp:
    """How many elements are greater than each one."""
    n_greater = count_compared(rasp.tokens, rasp.Comparison.GT, "greater_than_selector")
    return n_greater.named("count_greater_than")


@case("47", vocab="abcdefghij")
def frequency_of_ten_tokens() -> rasp.SOp:
    """How often each of 10 tokens occurs."""
    n_equal = count_compared(rasp.tokens, rasp.Comparison.EQ, "equality_selector")
    return n_equal.named("frequency_count")


@case("61", vocab=UP_TO_TEN)
def rank() -> rasp.SOp:
    """Rank of each element, 1 for the smallest; equal elements share the lowest rank."""
    n_smaller = count_compared(rasp.tokens, rasp.Comparison.LT, "less_than_selector")
    return (n_smaller.named("smaller_count") + 1).named("rank")


@case("63", vocab=UP_TO_TEN)
def count_smaller() -> rasp.SOp:
    """How many elements are smaller than each one."""
    return count_compared(rasp.tokens, rasp.Comparison.LT, "lt_selector").named("count_lt")


@case("78", vocab="abcdefghij")
def occurrences_of_ten_tokens() -> rasp.SOp:
    """How often each of 10 tokens occurs (case 47 by other names)."""
    return count_compared(rasp.tokens, rasp.Comparison.EQ, "eq_selector").named("count_occurrences")


@case("96", vocab=range(1, 11))
def zero_repeated() -> rasp.SOp:
    """Each element that occurs once, zero for all that occur more often.

    A count above the position (from 1) is set to zero first, which changes no output.
    """
    count = count_compared(rasp.tokens, rasp.Comparison.EQ, "eq_selector").named("eq_count")
    position = (rasp.indices + 1).named("index")
    possible = rasp.SequenceMap(lambda n, i: n if n <= i else 0, count, position)
    is_single = rasp.Map(lambda n: int(n == 1), possible.named("adjusted_count"))
    return rasp.SequenceMap(
        lambda x, flag: x if flag else 0, rasp.tokens, is_single.named("first_or_zero")
    ).named("remove_duplicates")
