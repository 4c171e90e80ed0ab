"""Division of a task's inputs into training, validation and test.

A hash of its tokens assigns every sequence to one part: the same part on every machine and for
every model, seed and number of pairs, without anything stored. Both sequences of a pair come from
the same part, so the parts share no sequence, except common ones: a task that draws one of eleven
sequences half of the time has too few of these to divide, and a model would be tested on answers
that it could not learn. They are in every part.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

PADDING = -1
"""Pads shorter sequences, unless an input source uses another value."""

Sequences = Int[np.ndarray, "sequence length"]
Pairs = Int[np.ndarray, "pair length"]
Part = Literal["train", "validation", "test"]
"""The use of a sequence: training, deciding when to stop, or the scores in the model's card."""

HELD_OUT = 0.2
"""The default share of sequences that are held out from training."""

FEWEST_SEQUENCES = 10
"""The fewest sequences of a part. Fewer make under 100 pairs, too few to estimate a rate."""

_COMMON = 0.01
"""The probability from which a sequence is in every part; at most 100 sequences have it."""

# Up to this many sequences, all sequences of a part are listed instead of drawn.
_LISTED = 20_000
# Draws for each sequence that a part needs, when its sequences are counted by drawing.
_DRAWS = 4
# Pairs for validation, and for tests, at most.
_MOST_JUDGED = 10_000
# After this many rounds of drawing with too few pairs, a part is taken to have no more.
_MOST_ROUNDS = 8


@runtime_checkable
class InputSource(Protocol):
    """The source of a task's sequences.

    Attributes:
      padding: pads shorter sequences at their end.
      uniform: whether all sequences are equally likely.
    """

    @property
    def padding(self) -> int: ...  # noqa: D102

    @property
    def uniform(self) -> bool: ...  # noqa: D102

    def n_sequences(self) -> int | None:
        """The number of sequences; None if unknown."""
        ...

    def all_sequences(self) -> Sequences:
        """Every sequence."""
        ...

    def sample_sequences(self, n: int, key: jax.Array) -> Sequences:
        """Draws `n` sequences with replacement."""
        ...

    def sample_pairs(self, n: int, key: jax.Array) -> tuple[Pairs, Pairs]:
        """Draws (base, source) pairs with replacement, both of one length."""
        ...


@dataclass(frozen=True, kw_only=True)
class Split:
    """How the sequences of a task are divided.

    Attributes:
      inputs: the source of the sequences.
      held_out: share of the sequences that is held out from training: half of it for validation,
        half for the test.
      divided: whether there are enough sequences to divide. If not, every part is the whole set,
        and nothing is held out.
      common: places (see `places`) of the sequences that are so common that every part has them.
    """

    inputs: InputSource
    held_out: float = HELD_OUT
    divided: bool = True
    common: tuple[float, ...] = ()

    @classmethod
    def of(cls, inputs: InputSource, *, held_out: float = HELD_OUT) -> "Split":
        """Divides the sequences if each part gets at least `FEWEST_SEQUENCES`.

        If there are too many to list, or the distribution is not uniform, the sequences of a part
        are counted in a sample, which also shows which ones are common.

        Raises:
          ValueError: `held_out` is not between 0 and 1.
        """
        if not 0 < held_out < 1:
            raise ValueError(f"held_out must lie between 0 and 1, got {held_out}")
        split = cls(inputs=inputs, held_out=held_out)
        if inputs.uniform and split._can_be_listed():
            rows, common = inputs.all_sequences(), ()
        else:
            n_drawn = max(_LISTED, round(_DRAWS * 2 * FEWEST_SEQUENCES / held_out))
            drawn = inputs.sample_sequences(n_drawn, jax.random.key(0))
            rows, counts = np.unique(drawn, axis=0, return_counts=True)
            often = counts >= _COMMON * n_drawn
            common = tuple(sorted(places(rows[often], inputs.padding).tolist()))
            rows = rows[~often]
        fewest = min(int(split.contains(rows, part).sum()) for part in get_args(Part))
        divided = fewest >= FEWEST_SEQUENCES
        return replace(split, divided=divided, common=common if divided else ())

    def _can_be_listed(self) -> bool:
        n = self.inputs.n_sequences()
        return n is not None and n <= _LISTED

    def contains(self, rows: Sequences, part: Part) -> Bool[np.ndarray, " sequence"]:
        """Whether each sequence belongs to a part."""
        if not self.divided:
            return np.ones(len(rows), bool)
        low, high = {
            "test": (0.0, self.held_out / 2),
            "validation": (self.held_out / 2, self.held_out),
            "train": (self.held_out, 1.0),
        }[part]
        place = places(rows, self.inputs.padding)
        return (low <= place) & (place < high) | np.isin(place, self.common)

    def pairs(self, part: Part, at_most: int, key: jax.Array) -> tuple[Sequences, Sequences]:
        """Distinct (base, source) pairs of one part, in random order; both of one length.

        Returns all pairs if there are at most `at_most` and few sequences; otherwise a sample
        without duplicates.

        Args:
          part: the part.
          at_most: the largest number of pairs.
          key: a JAX random key.

        Raises:
          ValueError: `at_most` is smaller than 1.
        """
        if at_most < 1:
            raise ValueError(f"the number of pairs must be at least 1, got {at_most}")
        if not self.divided:
            base, source = distinct_pairs(self.inputs, at_most, key)
            return base[:at_most], source[:at_most]
        if self._can_be_listed():
            rows = self.inputs.all_sequences()
            rows = rows[self.contains(rows, part)]
            if _n_pairs(rows, self.inputs.padding) <= at_most:
                return every_pair(rows, key, self.inputs.padding)
        return self._drawn_pairs(part, at_most, key)

    def _drawn_pairs(self, part: Part, at_most: int, key: jax.Array) -> tuple[Sequences, Sequences]:
        share = 1 - self.held_out if part == "train" else self.held_out / 2
        n_rows = int(2.1 * at_most / share) + 100  # nearly always enough, if few are duplicates
        found: np.ndarray | None = None
        for number in range(_MOST_ROUNDS):
            drawn = self.inputs.sample_sequences(n_rows, jax.random.fold_in(key, number))
            paired = neighbours(drawn[self.contains(drawn, part)], self.inputs.padding)
            found = paired[:0] if found is None else found
            both = np.concatenate([found, paired])
            _, first = np.unique(both.reshape(len(both), -1), axis=0, return_index=True)
            before, found = len(found), both[np.sort(first)]
            if len(found) >= at_most or len(found) == before:
                break
        assert found is not None
        return found[:at_most, 0], found[:at_most, 1]

    def describe(self) -> dict[str, Any]:
        """The split as plain data, for a model's card."""
        return {
            "divided": self.divided,
            "held_out": self.held_out if self.divided else 0.0,
            "sequences": self.inputs.n_sequences(),
        } | ({"common": len(self.common)} if self.common else {})


def distinct_pairs(inputs: InputSource, at_most: int, key: jax.Array) -> tuple[Pairs, Pairs]:
    """Distinct (base, source) pairs in random order: all, or about `at_most` drawn ones.

    Args:
      inputs: the source of the sequences.
      at_most: if there are more pairs, this many are drawn and duplicates removed.
      key: a JAX random key.
    """
    n = inputs.n_sequences()
    if n is not None and n <= at_most:
        rows = inputs.all_sequences()
        if _n_pairs(rows, inputs.padding) <= at_most:
            return every_pair(rows, key, inputs.padding)
    pairs = np.stack(inputs.sample_pairs(at_most, key), 1)
    _, first = np.unique(pairs.reshape(at_most, -1), axis=0, return_index=True)
    pairs = pairs[np.sort(first)]
    return pairs[:, 0], pairs[:, 1]


def _n_pairs(rows: Sequences, padding: int) -> int:
    """The number of pairs of equal length among these sequences."""
    _, counts = np.unique((rows != padding).sum(1), return_counts=True)
    return int((counts**2).sum())


def every_pair(rows: Sequences, key: jax.Array, padding: int = PADDING) -> tuple[Pairs, Pairs]:
    """All (base, source) pairs of equal length among these sequences, in random order."""
    lengths = (rows != padding).sum(1)
    groups = [rows[lengths == length] for length in np.unique(lengths)]
    base = np.concatenate([np.repeat(group, len(group), 0) for group in groups])
    source = np.concatenate([np.tile(group, (len(group), 1)) for group in groups])
    order = np.asarray(jax.random.permutation(key, len(base)))
    return base[order], source[order]


def pairs_per_part(n_pairs: int, held_out: float) -> dict[Part, int]:
    """Divides a number of pairs in the proportions of the parts.

    Validation and test have at most 10,000 pairs each: more make scores hardly more precise, but
    take memory.

    Raises:
      ValueError: a part would be empty.
    """
    n_each = round(n_pairs * held_out / 2)
    counts: dict[Part, int] = {
        "train": n_pairs - 2 * n_each,
        "validation": min(n_each, _MOST_JUDGED),
        "test": min(n_each, _MOST_JUDGED),
    }
    if min(counts.values()) < 1:
        raise ValueError(f"holding out {held_out} of {n_pairs} pairs leaves a part empty")
    return counts


def places(
    rows: Int[np.ndarray, "sequence pos"], padding: int = PADDING
) -> Float[np.ndarray, " sequence"]:
    """A number from 0 to 1 for each sequence: a hash of its tokens, practically uniform.

    Padding is ignored. The mixing function is that of SplitMix64, applied once per token.

    Source: Steele, Lea and Flood 2014, Fast splittable pseudorandom number generators.
    """
    state = np.full(len(rows), _SEED, np.uint64)
    for column in rows.T:
        mixed = _mix(state + _STEP * (column.astype(np.int64) + 1).astype(np.uint64))
        state = np.where(column == padding, state, mixed)
    return (state >> np.uint64(11)) * 2.0**-53


_SEED = np.uint64(0x243F6A8885A308D3)  # digits of pi
_STEP = np.uint64(0x9E3779B97F4A7C15)  # from the golden ratio


def _mix(state: np.ndarray) -> np.ndarray:
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def neighbours(rows: Sequences, padding: int) -> Int[np.ndarray, "pair 2 length"]:
    """Pairs each row with the next row of the same length; keeps the order."""
    lengths = (rows != padding).sum(1)
    pairs, ends = [], []
    for length in np.unique(lengths):
        (of_length,) = np.nonzero(lengths == length)
        two_by_two = of_length[: len(of_length) // 2 * 2].reshape(-1, 2)
        pairs.append(rows[two_by_two])
        ends.append(two_by_two[:, 1])
    if not pairs:
        return np.empty((0, 2, rows.shape[1]), rows.dtype)
    order = np.argsort(np.concatenate(ends), kind="stable")  # restores the order of drawing
    return np.concatenate(pairs)[order]
