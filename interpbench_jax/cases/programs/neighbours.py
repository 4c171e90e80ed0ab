"""Programs that compare or combine each token with the ones next to it."""

from tracr.rasp import rasp

from interpbench_jax.cases.programs.blocks import next_or_self, previous_or_self, shift_by
from interpbench_jax.cases.registry import case
from interpbench_jax.cases.samplers import Mixture, with_period_two

DIGITS = tuple(range(10))
UP_TO_TEN = tuple(range(11))


@case("1", vocab="abcde", causal=True, sampler=Mixture(((1 / 6, with_period_two),)))
def equals_two_before() -> rasp.SOp:
    """Whether each token equals the one two places before; undefined at the first two."""
    two_before = shift_by(2, rasp.tokens)
    return rasp.SequenceMap(lambda token, earlier: token == earlier, rasp.tokens, two_before)


@case("6", vocab=DIGITS, compression=1.2)
def turning_points() -> rasp.SOp:
    """Whether just one of the steps before and after each number rises; undefined at both ends."""
    rises_before = rasp.SequenceMap(lambda x, y: x < y, shift_by(1, rasp.tokens), rasp.tokens)
    rises_after = rasp.SequenceMap(lambda x, y: x < y, rasp.tokens, shift_by(-1, rasp.tokens))
    return rasp.SequenceMap(lambda before, after: before != after, rises_before, rises_after)


@case("13", vocab=range(3))
def trend() -> rasp.SOp:
    """Whether the next number is larger, smaller or the same; undefined at the last."""

    def step(x: int, following: int) -> str:
        if x == following:
            return "constant"
        return "increasing" if x < following else "decreasing"

    return rasp.SequenceMap(step, rasp.tokens, shift_by(-1, rasp.tokens))


@case("19", vocab="abc", n_ctx=15, causal=True)
def drop_repeats() -> rasp.SOp:
    """Each token, undefined where it repeats the one before, and at the first."""
    return rasp.SequenceMap(
        lambda token, before: None if token == before else token,
        rasp.tokens,
        shift_by(1, rasp.tokens),
    ).named("sequential_duplicate_removal")


@case(
    "32",
    vocab="MbJmTPSI SBvrj UDIh Wvgfy bVrp fJsONxK fLBcbfno iVgRV oCLrZaW wwMq".split(),
    causal=True,
)
def differs_from_previous() -> rasp.SOp:
    """Whether each word differs from the one before; undefined at the first."""
    return rasp.SequenceMap(
        lambda word, before: word != before, rasp.tokens, shift_by(1, rasp.tokens)
    )


@case("38", vocab="abc")
def differs_from_both_neighbours() -> rasp.SOp:
    """Whether each token differs from both its neighbours; undefined at both ends."""
    from_previous = rasp.SequenceMap(lambda x, y: x != y, shift_by(1, rasp.tokens), rasp.tokens)
    from_next = rasp.SequenceMap(lambda x, y: x != y, rasp.tokens, shift_by(-1, rasp.tokens))
    both = from_previous.named("prev_token_neq_orig") & from_next.named("next_token_neq_orig")
    return both.named("alternation_checker")


@case("92", vocab=UP_TO_TEN, causal=True)
def zero_where_falling() -> rasp.SOp:
    """Each element, zero where it is smaller than the one before."""
    before = previous_or_self(rasp.tokens).named("shifted_sequence_with_placeholder")
    return rasp.SequenceMap(lambda x, y: x if x >= y else 0, rasp.tokens, before).named(
        "zero_if_less_than_previous"
    )


@case("99", vocab=UP_TO_TEN)
def sum_with_next() -> rasp.SOp:
    """Each element plus the next one; the last is doubled."""
    return rasp.tokens + next_or_self(rasp.tokens)


@case("112", vocab=UP_TO_TEN)
def difference_to_next() -> rasp.SOp:
    """The next element minus each one; zero at the last."""
    return next_or_self(rasp.tokens) - rasp.tokens


@case("115", vocab=UP_TO_TEN)
def product_with_next() -> rasp.SOp:
    """Each element times the next one; the last is squared."""
    return rasp.tokens * next_or_self(rasp.tokens)


@case("118", vocab=UP_TO_TEN)
def sum_with_previous() -> rasp.SOp:
    """Each element plus the one before; undefined at the first.

    The zero that is meant for the first position never applies: the shifted value is undefined
    there.
    """
    shifted = shift_by(1, rasp.tokens).named("shifted_sequence")
    before = rasp.SequenceMap(lambda x, i: x if i > 0 else 0, shifted, rasp.indices)
    return (rasp.tokens + before).named("pairwise_max")


@case("131", vocab=UP_TO_TEN, causal=True)
def maximum_with_previous() -> rasp.SOp:
    """The larger of each element and the one before; undefined at the first."""
    before = shift_by(1, rasp.tokens).named("shifted_sequence")
    return rasp.SequenceMap(max, rasp.tokens, before).named("pairwise_max")
