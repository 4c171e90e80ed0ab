"""Programs that move tokens to other positions."""

import math

from tracr.rasp import rasp

from interpbench_jax.cases.programs.blocks import (
    attend,
    gather,
    length,
    reverse,
    scatter,
    unnamed_length,
)
from interpbench_jax.cases.registry import case

UP_TO_TEN = tuple(range(11))


@case("2", vocab="abcdefghijklmnopqrstuvwxyz")
def reversed_sequence() -> rasp.SOp:
    """The sequence reversed."""
    return reverse(rasp.tokens)


@case("21", vocab="abc", causal=True, compression=1.3, sized_by="d_model")
def first_occurrences() -> rasp.SOp:
    """Each token where it occurs first, in its place; undefined at its later occurrences."""
    placed = rasp.SequenceMap(lambda token, i: (token, i), rasp.tokens, rasp.indices)
    same_so_far = rasp.Select(
        placed, placed, lambda key, query: key[0] == query[0] and key[1] <= query[1]
    )
    n_so_far = rasp.SelectorWidth(same_so_far)
    target = rasp.SequenceMap(lambda n, i: i if n == 1 else -1, n_so_far, rasp.indices)
    return scatter(rasp.tokens, target, "unique_tokens_selector").named("unique_tokens")


@case("24", vocab="abc", causal=True, compression=1.2)
def copy_by_attention() -> rasp.SOp:
    """Each token unchanged, read from its own position by attention."""
    return attend(rasp.tokens, rasp.Comparison.EQ).named("first_occurrence")


@case("58", vocab=UP_TO_TEN)
def mirror_first_half() -> rasp.SOp:
    """First half as it is, second half replaced by the first one mirrored."""
    source = rasp.SequenceMap(lambda i, n: min(i, n - 1 - i), rasp.indices, length())
    return gather(rasp.tokens, source, "mirror_selector").named("mirrored_sequence")


@case("74", vocab=UP_TO_TEN)
def reverse_odd_positions() -> rasp.SOp:
    """Elements at odd positions, counted from 0, in reverse order; the others stay."""
    source = rasp.SequenceMap(
        lambda i, n: n - n % 2 - i if i % 2 else i, rasp.indices, unnamed_length()
    )
    return gather(rasp.tokens, source)


@case("93", vocab=UP_TO_TEN)
def swap_pairs_after_first() -> rasp.SOp:
    """Positions 1 and 2 swapped, 3 and 4, and so on; the first stays, so does a last odd one."""

    def partner(i: int, n: int) -> int:
        if i % 2:
            return i if i == n - 1 else i + 1
        return max(i - 1, 0)

    return gather(rasp.tokens, rasp.SequenceMap(partner, rasp.indices, unnamed_length()))


@case("100", vocab=UP_TO_TEN, n_ctx=11)
def swap_first_two() -> rasp.SOp:
    """First and second element swapped."""
    target = rasp.Map(lambda i: 1 - i if i < 2 else i, rasp.indices)
    return scatter(rasp.tokens, target)


@case("103", vocab=UP_TO_TEN)
def swap_pairs() -> rasp.SOp:
    """Positions 0 and 1 swapped, 2 and 3, and so on; a last one without a partner stays."""

    def partner(i: int, n: int) -> int:
        if i % 2:
            return i - 1
        return i if i == n - 1 else i + 1

    return gather(rasp.tokens, rasp.SequenceMap(partner, rasp.indices, unnamed_length()))


@case("110", vocab=UP_TO_TEN)
def zeros_between() -> rasp.SOp:
    """Elements of the first half with zeros between them."""
    doubled = attend(rasp.tokens, lambda key, query: key == query // 2)
    return rasp.SequenceMap(lambda x, i: 0 if i % 2 else x, doubled, rasp.indices)


@case("120", vocab=UP_TO_TEN)
def swap_halves() -> rasp.SOp:
    """The two halves swapped; in a sequence of odd length the middle element stays."""

    def target(i: int, half: float) -> int | float:
        middle = half - 0.5
        if i == middle:
            return i
        distance = half if half.is_integer() else math.ceil(half)
        return i + distance if i < middle else i - distance

    half = rasp.Map(lambda n: n / 2, unnamed_length())
    return scatter(rasp.tokens, rasp.SequenceMap(target, rasp.indices, half))


@case("128", vocab=UP_TO_TEN)
def swap_ends() -> rasp.SOp:
    """First and last element swapped."""

    def target(i: int, n: int) -> int:
        if i == 0:
            return n - 1
        return 0 if i == n - 1 else i

    return scatter(rasp.tokens, rasp.SequenceMap(target, rasp.indices, unnamed_length()))
