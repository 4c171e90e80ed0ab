"""Programs that apply a real function to each number."""

import math

from tracr.rasp import rasp

from interpbench_jax.cases.registry import case

UP_TO_TEN = tuple(range(11))
MINUS_ONE_TO_ONE = tuple(i / 10 - 1 for i in range(20))


@case("50", vocab=UP_TO_TEN, causal=True)
def hyperbolic_cosine() -> rasp.SOp:
    """Hyperbolic cosine of each element."""
    return rasp.Map(math.cosh, rasp.tokens)


@case("52", vocab=UP_TO_TEN, causal=True)
def square_root() -> rasp.SOp:
    """Square root of each element."""
    return rasp.Map(math.sqrt, rasp.tokens).named("square_root")


@case("54", vocab=UP_TO_TEN, causal=True)
def hyperbolic_tangent() -> rasp.SOp:
    """Hyperbolic tangent of each element."""
    return rasp.Map(math.tanh, rasp.tokens)


@case("55", vocab=UP_TO_TEN, causal=True)
def hyperbolic_sine() -> rasp.SOp:
    """Hyperbolic sine of each element."""
    return rasp.Map(math.sinh, rasp.tokens).named("hyperbolic_sine")


@case("65", vocab=UP_TO_TEN, causal=True)
def cube_root() -> rasp.SOp:
    """Cube root of each element."""
    return rasp.Map(lambda x: x ** (1 / 3), rasp.tokens).named("cube_root_operation")


@case("70", vocab=UP_TO_TEN, causal=True)
def cosine() -> rasp.SOp:
    """Cosine of each element."""
    return rasp.Map(math.cos, rasp.tokens).named("apply_cosine")


@case("73", vocab=UP_TO_TEN, causal=True)
def sine() -> rasp.SOp:
    """Sine of each element."""
    return rasp.Map(math.sin, rasp.tokens).named("sine")


@case("77", vocab=UP_TO_TEN, causal=True)
def tangent() -> rasp.SOp:
    """Tangent of each element."""
    return rasp.Map(math.tan, rasp.tokens).named("tangent")


@case("84", vocab=UP_TO_TEN, causal=True)
def arctangent() -> rasp.SOp:
    """Arctangent of each element."""
    return rasp.Map(math.atan, rasp.tokens).named("arctangent")


@case("104", vocab=UP_TO_TEN, causal=True)
def exponential() -> rasp.SOp:
    """Exponential of each element."""
    return rasp.Map(math.exp, rasp.tokens)


@case("114", vocab=range(1, 11), causal=True)
def decimal_logarithm() -> rasp.SOp:
    """Logarithm of each element to the base 10."""
    return rasp.Map(lambda x: math.log(x, 10), rasp.tokens).named("logarithm")


@case("121", vocab=MINUS_ONE_TO_ONE, causal=True)
def arcsine() -> rasp.SOp:
    """Arcsine of each element."""
    return rasp.Map(math.asin, rasp.tokens)


@case("123", vocab=MINUS_ONE_TO_ONE, causal=True)
def arccosine() -> rasp.SOp:
    """Arccosine of each element."""
    return rasp.Map(math.acos, rasp.tokens)
