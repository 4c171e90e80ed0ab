"""Building blocks that the programs share.

A block returns new expressions on every call. Names of expressions are part of a program: Tracr
sorts the directions of the residual stream by them, so blocks known from Tracr's library have the
same names here. (The library itself is not used, since importing it loads the compiler.)
"""

from collections.abc import Callable

from tracr.rasp import rasp

from interpbench_jax.cases.case import Value


def constant(value: Value, over: rasp.SOp = rasp.indices) -> rasp.SOp:
    """The same value at every position, as a map over some other expression."""
    return rasp.Map(lambda _: value, over)


def length() -> rasp.SOp:
    """The number of tokens, at every position."""
    everything = rasp.Select(rasp.tokens, rasp.tokens, rasp.Comparison.TRUE)
    return rasp.SelectorWidth(everything.named("all_true_selector")).named("length")


def unnamed_length(over: rasp.SOp = rasp.indices) -> rasp.SOp:
    """The number of tokens, counted over any expression and left without a name."""
    return rasp.SelectorWidth(rasp.Select(over, over, rasp.Comparison.TRUE))


def attend(values: rasp.SOp, predicate: Callable[[int, int], bool] | rasp.Comparison) -> rasp.SOp:
    """The mean of the values at the positions `k` with `predicate(k, q)`, at each position `q`."""
    return rasp.Aggregate(rasp.Select(rasp.indices, rasp.indices, predicate), values)


def gather(values: rasp.SOp, positions: rasp.SOp, selector: str = "select") -> rasp.SOp:
    """At each position, the value at the position that `positions` gives."""
    source = rasp.Select(rasp.indices, positions, rasp.Comparison.EQ).named(selector)
    return rasp.Aggregate(source, values)


def scatter(values: rasp.SOp, positions: rasp.SOp, selector: str = "select") -> rasp.SOp:
    """Moves each value to the position that `positions` gives."""
    target = rasp.Select(positions, rasp.indices, rasp.Comparison.EQ).named(selector)
    return rasp.Aggregate(target, values)


def shift_by(offset: int, values: rasp.SOp) -> rasp.SOp:
    """Moves the values `offset` places to the right; undefined where none arrives."""
    return attend(values, lambda key, query: query == key + offset).named(f"shift_by({offset})")


def previous_or_self(values: rasp.SOp) -> rasp.SOp:
    """The value one place to the left; the first position keeps its own."""
    return attend(values, lambda key, query: key == max(query - 1, 0))


def next_or_self(values: rasp.SOp) -> rasp.SOp:
    """The value one place to the right; the last position keeps its own.

    The position before the target is computed first, and attention goes one beyond it.
    """
    before = rasp.SequenceMap(
        lambda i, n: i if i < n - 1 else i - 1, rasp.indices, unnamed_length()
    )
    after = rasp.Select(rasp.indices, before, lambda key, query: key == query + 1)
    return rasp.Aggregate(after, values)


def reverse(values: rasp.SOp) -> rasp.SOp:
    """The values in reverse order."""
    from_end = (length() - rasp.indices).named("opp_idx")
    mirrored = (from_end - 1).named("opp_idx-1")
    return gather(values, mirrored, "reverse_selector").named("reverse")


def running_fraction(flags: rasp.SOp) -> rasp.SOp:
    """The share of true flags among the positions so far; `flags` is numerical."""
    so_far = rasp.Select(rasp.indices, rasp.indices, rasp.Comparison.LEQ)
    return rasp.numerical(rasp.Aggregate(so_far, flags, default=0)).named("frac_prevs")


def pair_balance(pair: str) -> rasp.SOp:
    """The running share of `pair[0]` minus that of `pair[1]`."""
    is_open = rasp.numerical(rasp.tokens == pair[0]).named("bools_open")
    is_close = rasp.numerical(rasp.tokens == pair[1]).named("bools_close")
    opens = running_fraction(is_open).named("opens")
    closes = running_fraction(is_close).named("closes")
    return rasp.numerical(rasp.LinearSequenceMap(opens, closes, 1, -1)).named("pair_balance")


def count_compared(
    values: rasp.SOp, comparison: rasp.Comparison, selector: str = "select"
) -> rasp.SOp:
    """At each position `q`, the number of positions `k` with `values[k] <comparison> values[q]`."""
    return rasp.SelectorWidth(rasp.Select(values, values, comparison).named(selector))


def histogram() -> rasp.SOp:
    """How often each token occurs."""
    return count_compared(rasp.tokens, rasp.Comparison.EQ, "same_tok").named("hist")


def count_zeros(flags: rasp.SOp) -> rasp.SOp:
    """The number of zeros, at every position."""
    return rasp.SelectorWidth(rasp.Select(flags, constant(0), rasp.Comparison.EQ))


def nowhere_zero(flags: rasp.SOp) -> rasp.SOp:
    """1 everywhere if no flag is 0, else 0 everywhere."""
    return rasp.Map(lambda n_zeros: int(n_zeros == 0), count_zeros(flags))


def distinct_keys(keys: rasp.SOp, step: int | float, parts: int = 1) -> rasp.SOp:
    """Breaks ties from left to right: adds `step / parts` per position."""
    return rasp.SequenceMap(lambda key, i: key + step * i / parts, keys, rasp.indices)


def sort(values: rasp.SOp, keys: rasp.SOp) -> rasp.SOp:
    """The values in ascending order of their keys, which must be distinct."""
    rank = count_compared(keys, rasp.Comparison.LT, "smaller").named("target_pos")
    return scatter(values, rank).named("sort")
