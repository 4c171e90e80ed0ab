"""Programs about primes, squares, powers and Fibonacci numbers."""

import math

from tracr.rasp import rasp

from interpbench_jax.cases.registry import case

UP_TO_TEN = tuple(range(11))
BELOW_THIRTY = tuple(range(30))


def _fibonacci(n: int) -> int:
    current, following = 0, 1
    for _ in range(n):
        current, following = following, current + following
    return current


def _is_prime(x: int) -> bool:
    return x > 1 and all(x % divisor for divisor in range(2, x))


def _next_prime(x: int) -> int:
    while not _is_prime(x):
        x += 1
    return x


@case("43", vocab=range(20), causal=True)
def fibonacci_number() -> rasp.SOp:
    """Fibonacci number with each element's index (0, 1, 1, 2, ...)."""
    return rasp.Map(_fibonacci, rasp.tokens).named("nth_fib")


@case("51", vocab=range(100), causal=True)
def is_fibonacci_number() -> rasp.SOp:
    """1 where the element is a Fibonacci number, else 0."""
    fibonacci_numbers = {_fibonacci(n) for n in range(12)}
    return rasp.Map(lambda x: int(x in fibonacci_numbers), rasp.tokens).named("check_fibonacci_map")


@case("79", vocab=UP_TO_TEN, causal=True)
def is_prime() -> rasp.SOp:
    """1 where the element is prime, else 0."""
    return rasp.Map(lambda x: int(_is_prime(x)), rasp.tokens)


@case("86", vocab=UP_TO_TEN, causal=True)
def is_power_of_two() -> rasp.SOp:
    """1 where the element is a power of two above 1, else 0."""
    return rasp.Map(lambda x: int(x in (2, 4, 8)), rasp.tokens).named("check_multiple_of_2")


@case("95", vocab=BELOW_THIRTY, causal=True)
def count_prime_factors() -> rasp.SOp:
    """Number of distinct primes that divide each element; 0 for 0 and 1."""

    def n_prime_factors(x: int) -> int:
        return sum(_is_prime(divisor) and x % divisor == 0 for divisor in range(2, x + 1))

    return rasp.Map(n_prime_factors, rasp.tokens)


@case("101", vocab=BELOW_THIRTY, causal=True)
def is_perfect_square() -> rasp.SOp:
    """1 where the element is a perfect square, else 0."""
    return rasp.Map(lambda x: int(math.isqrt(x) ** 2 == x), rasp.tokens)


@case("105", vocab=BELOW_THIRTY, causal=True)
def next_prime() -> rasp.SOp:
    """Smallest prime that is not below each element."""
    return rasp.Map(_next_prime, rasp.tokens)


@case("122", vocab=BELOW_THIRTY, causal=True)
def is_divisible_by_three() -> rasp.SOp:
    """1 where the element is divisible by three, else 0."""
    return rasp.Map(lambda x: int(x % 3 == 0), rasp.tokens)
