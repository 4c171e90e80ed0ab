"""Programs in which every position reads the first, second or last element."""

from tracr.rasp import rasp

from interpbench_jax.cases.programs.blocks import constant, gather, unnamed_length
from interpbench_jax.cases.registry import case
from interpbench_jax.cases.samplers import Mixture, repeated_end

UP_TO_TEN = tuple(range(11))


def _last(n_tokens: rasp.SOp) -> rasp.SOp:
    """The last element everywhere."""
    return gather(rasp.tokens, n_tokens - 1)


def _last_but_one(n_tokens: rasp.SOp) -> rasp.SOp:
    """The last element but one everywhere."""
    return gather(rasp.tokens, n_tokens - 2)


@case("42", vocab="abcdefghij", causal=True)
def first_everywhere() -> rasp.SOp:
    """The first token everywhere."""
    first = gather(rasp.tokens, constant(0), "first_elem_selector")
    return first.named("first_element_sequence")


@case("57", vocab="abcdefghij")
def second_everywhere() -> rasp.SOp:
    """The second token everywhere."""
    second = gather(rasp.tokens, constant(1), "second_element_selector")
    return second.named("second_element_sequence")


@case("88", vocab=UP_TO_TEN)
def mean_of_ends() -> rasp.SOp:
    """Mean of the first and the last element, everywhere.

    The last one is found by reversing the sequence and reading its first element.
    """
    at_first = rasp.Select(rasp.indices, rasp.indices, lambda key, query: key == 0)
    at_first = at_first.named("first_elem_selector")
    first = rasp.Aggregate(at_first, rasp.tokens).named("first_elem")
    from_end = rasp.SequenceMap(lambda i, n: n - i - 1, rasp.indices, unnamed_length())
    mirrored = rasp.Select(from_end, rasp.indices, rasp.Comparison.EQ)
    backwards = rasp.Aggregate(mirrored, rasp.tokens).named("reversed_sequence")
    last = rasp.Aggregate(at_first, backwards).named("last_elem")
    return rasp.SequenceMap(lambda x, y: (x + y) / 2, first, last).named("average_first_last")


@case("109", vocab=UP_TO_TEN, sampler=Mixture(((0.45, repeated_end),)))
def last_two_equal() -> rasp.SOp:
    """1 everywhere if the last two elements are equal, else 0 everywhere."""
    n_tokens = unnamed_length(rasp.tokens)
    return rasp.SequenceMap(lambda x, y: int(x == y), _last(n_tokens), _last_but_one(n_tokens))


@case("111", vocab=UP_TO_TEN)
def last_then_zeros() -> rasp.SOp:
    """The last element at the first position, zeros elsewhere."""
    n_tokens = unnamed_length(rasp.tokens).named("length")
    last = gather(rasp.tokens, n_tokens - 1, "last_element_selector").named("last_element_sequence")
    return rasp.SequenceMap(lambda x, i: x if i == 0 else 0, last, rasp.indices)


@case("116", vocab=UP_TO_TEN, n_ctx=11)
def multiple_of_first() -> rasp.SOp:
    """1 where the element is a multiple of the first one, else 0; 0 everywhere if that is 0."""
    first = gather(rasp.tokens, constant(0))
    return rasp.SequenceMap(lambda x, y: int(y != 0 and x % y == 0), rasp.tokens, first)


@case("117", vocab=UP_TO_TEN)
def sum_of_last_two() -> rasp.SOp:
    """Sum of the last two elements, everywhere."""
    n_tokens = unnamed_length(rasp.tokens)
    return _last(n_tokens) + _last_but_one(n_tokens)


@case("119", vocab=range(6), n_ctx=5)
def polynomial() -> rasp.SOp:
    """With elements x, a, b, c: the value of a x^2 + b x + c, everywhere."""
    zero = rasp.tokens - rasp.tokens
    x = gather(rasp.tokens, zero, "first_element_selector")
    total = zero
    for position, power in ((1, 2), (2, 1), (3, 0)):
        where = constant(position, rasp.tokens)
        coefficient = gather(rasp.tokens, where, f"selector_{position}")
        coefficient = coefficient.named(f"weight_{position}")
        term = rasp.SequenceMap(lambda x, a, power=power: a * x**power, x, coefficient)
        total = total + term
    return total


@case("127", vocab=UP_TO_TEN)
def divide_by_ratio() -> rasp.SOp:
    """Each element times the first over the second; unchanged if one of these two is 0."""

    def ratio(first: int, second: int) -> int | float:
        return second / first if first and second else 1

    first = gather(rasp.tokens, constant(0), "first_elem_selector").named("first_elem")
    second_position = rasp.Map(lambda n: int(n > 1), unnamed_length())
    second = gather(rasp.tokens, second_position, "second_elem_selector").named("second_elem")
    divisor = rasp.SequenceMap(ratio, first, second).named("divisor")
    return (rasp.tokens / divisor).named("result_sequence")
