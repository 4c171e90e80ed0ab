"""Programs that order the elements: sorting, medians, maxima."""

from tracr.rasp import rasp

from interpbench_jax.cases.programs.blocks import (
    count_compared,
    distinct_keys,
    gather,
    length,
    scatter,
    sort,
)
from interpbench_jax.cases.registry import case

UP_TO_TEN = tuple(range(11))


@case("9", vocab=range(10), sized_by="d_model")
def sorted_digits() -> rasp.SOp:
    """Digits in ascending order."""
    return sort(rasp.tokens, distinct_keys(rasp.tokens, step=1, parts=10))


@case("22", vocab=("J", "LB", "TPSI", "V", "b", "no", "oCLrZaW", "poiVg"), sized_by="d_model")
def words_by_length() -> rasp.SOp:
    """Words in ascending order of length, words of one length in the order they came."""
    word_length = rasp.Map(len, rasp.tokens).named("token_length")
    return sort(rasp.tokens, distinct_keys(word_length, step=1, parts=10))


@case("59", vocab=UP_TO_TEN)
def sorted_numbers() -> rasp.SOp:
    """Numbers up to 10 in ascending order."""
    keys = distinct_keys(rasp.tokens, step=1e-5).named("unique_keys")
    rank = count_compared(keys, rasp.Comparison.LT, "lt_selector").named("sorted_position")
    return scatter(rasp.tokens, rank, "sorted_sequence_selector").named("sorted_sequence")


def _lower_middle(n_tokens: int) -> int:
    return (n_tokens - 1) // 2


def _upper_middle(n_tokens: int) -> int:
    return n_tokens // 2


@case("81", vocab=UP_TO_TEN)
def median() -> rasp.SOp:
    """Median of the sequence, everywhere."""
    n_tokens = length()
    in_order = sort(rasp.tokens, distinct_keys(rasp.tokens, step=0.01))
    lower = gather(in_order, rasp.Map(_lower_middle, n_tokens))
    upper = gather(in_order, rasp.Map(_upper_middle, n_tokens))
    return rasp.SequenceMap(lambda x, y: (x + y) / 2, lower, upper)


@case("126", vocab=UP_TO_TEN)
def median_with_names() -> rasp.SOp:
    """Median of the sequence, everywhere (case 81 by other names)."""
    n_tokens = length()
    in_order = sort(rasp.tokens, distinct_keys(rasp.tokens, step=1e-4))
    lower_index = rasp.Map(_lower_middle, n_tokens).named("mid_index1")
    upper_index = rasp.Map(_upper_middle, n_tokens).named("mid_index2")
    lower = gather(in_order, lower_index, "median_selector1").named("potential_median1")
    upper = gather(in_order, upper_index, "median_selector2").named("potential_median2")
    return rasp.SequenceMap(lambda x, y: (x + y) / 2, lower, upper).named("median")


def _maximum() -> rasp.SOp:
    """The largest element: the one that all elements are below or equal to."""
    keys = distinct_keys(rasp.tokens, step=1e-14)
    rank = count_compared(keys, rasp.Comparison.LEQ, "leq_selector").named("leq_count")
    is_last = rasp.Select(rank, length(), rasp.Comparison.EQ).named("max_element_selector")
    return rasp.Aggregate(is_last, rasp.tokens)


@case("97", vocab=UP_TO_TEN)
def divided_by_maximum() -> rasp.SOp:
    """Each element divided by the largest one; zero if that is zero."""
    return rasp.SequenceMap(
        lambda x, top: x / top if top else 0, rasp.tokens, _maximum().named("max_element")
    ).named("scale_by_max_sequence")


@case("98", vocab=UP_TO_TEN)
def maximum_everywhere() -> rasp.SOp:
    """The largest element, everywhere."""
    return _maximum().named("max_sequence")
