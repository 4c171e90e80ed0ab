"""Programs that compute something from each number on its own, exactly and within the integers."""

import math

from tracr.rasp import rasp

from interpbench_jax.cases.programs.blocks import constant
from interpbench_jax.cases.registry import case

UP_TO_TEN = tuple(range(11))
AROUND_ZERO = tuple(range(-10, 10))
WIDE_AROUND_ZERO = tuple(range(-15, 15))


@case("8", vocab=UP_TO_TEN, causal=True)
def unchanged() -> rasp.SOp:
    """Each element unchanged."""
    return rasp.Map(lambda x: x, rasp.tokens)


@case("40", vocab=range(29), causal=True)
def digit_sum() -> rasp.SOp:
    """Sum of the two digits of each element."""
    tens = rasp.Map(lambda x: x // 10, rasp.tokens).named("tens_place")
    ones = rasp.Map(lambda x: x % 10, rasp.tokens).named("ones_place")
    return (tens + ones).named("sum_digits")


@case("41", vocab=AROUND_ZERO, causal=True)
def absolute_value() -> rasp.SOp:
    """Absolute value of each element."""
    return rasp.Map(abs, rasp.tokens).named("make_absolute")


@case("46", vocab=UP_TO_TEN, causal=True)
def minus_one() -> rasp.SOp:
    """Each element minus one."""
    return (rasp.tokens - 1).named("decrement")


@case("49", vocab=UP_TO_TEN, causal=True)
def down_to_multiple_of_three() -> rasp.SOp:
    """Largest multiple of three that is not above each element."""
    return rasp.Map(lambda x: x - x % 3, rasp.tokens).named("decrement_to_multiple_of_three")


@case("60", vocab=UP_TO_TEN, causal=True)
def plus_one() -> rasp.SOp:
    """Each element plus one."""
    return (rasp.tokens + 1).named("increment")


@case("62", vocab=UP_TO_TEN, causal=True)
def factorial() -> rasp.SOp:
    """Factorial of each element."""
    return rasp.Map(math.factorial, rasp.tokens).named("factorial")


@case("64", vocab=UP_TO_TEN, causal=True)
def cube() -> rasp.SOp:
    """Cube of each element."""
    return rasp.Map(lambda x: x**3, rasp.tokens).named("cube_sequence")


@case("66", vocab=[i / 4 for i in range(20)], causal=True)
def round_half_up() -> rasp.SOp:
    """Nearest integer to each element, halves rounded up."""
    return rasp.Map(lambda x: math.floor(x + 0.5), rasp.tokens).named("rounded_sequence")


@case("68", vocab=UP_TO_TEN, causal=True)
def up_to_multiple_of_three() -> rasp.SOp:
    """Smallest multiple of three that is not below each element."""
    return rasp.Map(lambda x: x + -x % 3, rasp.tokens).named("increment_to_multiple_of_three")


@case("69", vocab=UP_TO_TEN, causal=True)
def sign() -> rasp.SOp:
    """Sign of each element (none is negative: 0 for zero, else 1)."""
    return rasp.Map(lambda x: (x > 0) - (x < 0), rasp.tokens).named("sign")


@case("72", vocab=AROUND_ZERO, causal=True)
def negation() -> rasp.SOp:
    """Each element negated."""
    return rasp.Map(lambda x: -x, rasp.tokens).named("negated_sequence")


@case("75", vocab=UP_TO_TEN, causal=True)
def double() -> rasp.SOp:
    """Twice each element."""
    return (rasp.tokens * 2).named("double_elements")


@case("80", vocab=UP_TO_TEN, causal=True)
def minus_two() -> rasp.SOp:
    """Each element minus two."""
    return (rasp.tokens - 2).named("subtract_2")


@case("83", vocab=UP_TO_TEN, causal=True)
def triple() -> rasp.SOp:
    """Three times each element."""
    return (rasp.tokens * 3).named("triple_sequence")


@case("85", vocab=UP_TO_TEN, causal=True)
def square() -> rasp.SOp:
    """Square of each element."""
    return rasp.Map(lambda x: x**2, rasp.tokens).named("square_each_element")


@case("87", vocab=UP_TO_TEN, causal=True)
def at_least_three() -> rasp.SOp:
    """1 where the element is at least three, else 0."""
    return rasp.Map(lambda x: int(x >= 3), rasp.tokens)


@case("91", vocab=UP_TO_TEN, causal=True)
def zero_below_three() -> rasp.SOp:
    """Each element, zero where it is below three."""
    return rasp.Map(lambda x: x if x >= 3 else 0, rasp.tokens).named("apply_threshold")


@case("102", vocab=range(-20, 20), causal=True)
def reflect_into_range() -> rasp.SOp:
    """Each element reflected at 2 and at 7 until it lies between them."""

    def reflect(x: int) -> int:
        beyond = (x - 2) % 10
        return 2 + min(beyond, 10 - beyond)

    return rasp.Map(reflect, rasp.tokens)


@case("107", vocab=WIDE_AROUND_ZERO, causal=True)
def wrap_into_range() -> rasp.SOp:
    """Each element modulo 5, taken from 2 to 6."""
    return rasp.Map(lambda x: 2 + (x - 2) % 5, rasp.tokens)


@case("130", vocab=WIDE_AROUND_ZERO, causal=True)
def clip_into_range() -> rasp.SOp:
    """Each element clipped to between 2 and 7."""
    raised = rasp.SequenceMap(max, rasp.tokens, constant(2, rasp.tokens))
    return rasp.SequenceMap(min, raised, constant(7, rasp.tokens))
