"""Programs that compute something from each token and its position."""

from tracr.rasp import rasp

from interpbench_jax.cases.programs.blocks import length, unnamed_length
from interpbench_jax.cases.registry import case

UP_TO_TEN = tuple(range(11))


@case("15", vocab=range(5), n_ctx=5, causal=True)
def double_minus_position() -> rasp.SOp:
    """Twice each element minus its position.

    A map of three arguments (the element, once more, its position), made of maps of two.
    """
    twice = rasp.SequenceMap(lambda x, y: (x, y), rasp.tokens, rasp.tokens)
    with_position = rasp.SequenceMap(lambda pair, i: (*pair, i), twice, rasp.indices)
    return rasp.Map(lambda triple: triple[0] + triple[1] - triple[2], with_position)


@case("26", vocab="abc", causal=True, sized_by="d_model")
def cascade() -> rasp.SOp:
    """Each token repeated as a word: once at position 0, twice at position 1, and so on."""
    return rasp.SequenceMap(lambda token, i: token * (i + 1), rasp.tokens, rasp.indices)


@case("45", vocab=UP_TO_TEN)
def double_first_half() -> rasp.SOp:
    """Elements of the first half doubled, the middle one too."""
    n_tokens = unnamed_length(rasp.tokens).named("length")
    in_first_half = rasp.SequenceMap(lambda i, n: int(i < n / 2), rasp.indices, n_tokens)
    return rasp.SequenceMap(
        lambda x, flag: x * 2 if flag else x,
        rasp.tokens,
        in_first_half.named("first_half_selector"),
    ).named("double_first_half")


@case("48", vocab=UP_TO_TEN, causal=True)
def plus_position() -> rasp.SOp:
    """Each element plus its position, counted from 0."""
    return (rasp.tokens + rasp.indices).named("incremented_sequence")


@case("53", vocab=UP_TO_TEN, causal=True)
def plus_one_at_odd_positions() -> rasp.SOp:
    """Elements at odd positions, counted from 0, plus one."""
    is_odd = rasp.Map(lambda i: i % 2, rasp.indices).named("odd_index_marker")
    return (rasp.tokens + is_odd).named("incremented_elements")


@case("56", vocab=UP_TO_TEN, causal=True)
def zero_every_third() -> rasp.SOp:
    """Every third element replaced by zero."""
    is_third = rasp.Map(lambda i: int(i % 3 == 2), rasp.indices).named("every_third_numerical")
    return rasp.SequenceMap(lambda x, flag: 0 if flag else x, rasp.tokens, is_third).named(
        "result_sequence"
    )


@case("67", vocab=UP_TO_TEN)
def times_length() -> rasp.SOp:
    """Each element times the length of the sequence."""
    return (rasp.tokens * length().named("length_sequence")).named("multiply_by_length_sequence")


@case("71", vocab=UP_TO_TEN)
def divided_by_length() -> rasp.SOp:
    """Each element divided by the length of the sequence."""
    return rasp.SequenceMap(lambda x, n: x / n if n else 0, rasp.tokens, length()).named(
        "divided_by_length"
    )


@case("76", vocab=UP_TO_TEN, causal=True)
def zero_at_even_positions() -> rasp.SOp:
    """Elements at even positions, counted from 0, replaced by zero."""
    marker = rasp.Map(lambda i: -(i % 2), rasp.indices).named("even_odd_marker")
    return rasp.SequenceMap(lambda x, mark: x if mark else 0, rasp.tokens, marker).named(
        "final_sequence"
    )


@case("82", vocab=UP_TO_TEN)
def halve_second_half() -> rasp.SOp:
    """Elements of the second half halved, the middle one too."""
    half = rasp.Map(lambda n: n // 2, length()).named("half_length")
    in_second_half = rasp.SequenceMap(lambda i, start: i >= start, rasp.indices, half)
    return rasp.SequenceMap(
        lambda x, flag: x / 2 if flag else x, rasp.tokens, in_second_half.named("in_second_half")
    ).named("halved_sequence")


@case("106", vocab=UP_TO_TEN, causal=True)
def zero_but_second() -> rasp.SOp:
    """The second element in its place, zeros elsewhere."""
    return rasp.SequenceMap(lambda x, i: x if i == 1 else 0, rasp.tokens, rasp.indices)
