"""Inputs of a case: all sequences if there are few, a sample otherwise.

Sequences are rows of indices into `case.vocab`, without BOS. All have the full length, unless
`min_length` allows shorter ones, which are padded with `PADDING` at the end.
"""

from dataclasses import dataclass

import jax
import numpy as np

from interpbench_jax.cases.case import Case
from interpbench_jax.cases.samplers import draw
from interpbench_jax.tasks.splits import PADDING, Pairs, Sequences


def n_sequences(case: Case, *, min_length: int | None = None) -> int:
    """The number of sequences of full length, or of all lengths from `min_length`."""
    return sum(len(case.vocab) ** length for length in _lengths(case, min_length))


def all_sequences(case: Case, *, min_length: int | None = None) -> Sequences:
    """Every sequence, the shortest first, in lexicographic order within a length.

    Args:
      case: the case.
      min_length: length of the shortest; full length by default.

    Raises:
      ValueError: `min_length` is not between 1 and the longest.
    """
    return np.concatenate([_every(case, length) for length in _lengths(case, min_length)])


def sample_sequences(
    case: Case, n: int, key: jax.Array, *, min_length: int | None = None
) -> Sequences:
    """Draws sequences with replacement.

    They come from `case.sampler`, or are uniform if there is none. They are independent, so any
    subset is a sample too. If lengths differ, all lengths are equally likely.

    Args:
      case: the case.
      n: number of sequences.
      key: a JAX random key.
      min_length: length of the shortest; full length by default.

    Raises:
      ValueError: `min_length` is not between 1 and the longest.
    """
    return _sample(case, n, key, min_length)


def sequences(case: Case, at_most: int, key: jax.Array) -> Sequences:
    """All sequences of full length if there are at most `at_most`, else a sample of `at_most`."""
    if n_sequences(case) <= at_most:
        return all_sequences(case)
    return sample_sequences(case, at_most, key)


def sample_pairs(
    case: Case, n: int, key: jax.Array, *, min_length: int | None = None
) -> tuple[Sequences, Sequences]:
    """Draws (base, source) pairs of equal length, with replacement; see `sample_sequences`."""
    drawn = _sample(case, n, key, min_length, of_one_length=2)
    return drawn[::2], drawn[1::2]


@dataclass(frozen=True)
class CaseInputs:
    """The sequences of a case as an `InputSource`, for splits and pairs.

    Attributes:
      case: the case.
      min_length: length of the shortest; full length by default.

    Raises:
      ValueError: `min_length` is not between 1 and the longest.
    """

    case: Case
    min_length: int | None = None

    def __post_init__(self) -> None:
        """Checks the length."""
        _lengths(self.case, self.min_length)

    @property
    def padding(self) -> int:
        """The token that pads shorter sequences."""
        return PADDING

    @property
    def uniform(self) -> bool:
        """Whether the case has no sampler."""
        return self.case.sampler is None

    def n_sequences(self) -> int:
        """See `n_sequences`."""
        return n_sequences(self.case, min_length=self.min_length)

    def all_sequences(self) -> Sequences:
        """See `all_sequences`."""
        return all_sequences(self.case, min_length=self.min_length)

    def sample_sequences(self, n: int, key: jax.Array) -> Sequences:
        """See `sample_sequences`."""
        return sample_sequences(self.case, n, key, min_length=self.min_length)

    def sample_pairs(self, n: int, key: jax.Array) -> tuple[Pairs, Pairs]:
        """See `sample_pairs`."""
        return sample_pairs(self.case, n, key, min_length=self.min_length)


def _lengths(case: Case, min_length: int | None) -> range:
    longest = case.n_ctx - 1
    if min_length is None:
        return range(longest, longest + 1)
    if not 1 <= min_length <= longest:
        raise ValueError(
            f"min_length must be between 1 and {longest}, the longest sequence of case "
            f"{case.name}, got {min_length}"
        )
    return range(min_length, longest + 1)


def _every(case: Case, length: int) -> Sequences:
    n_tokens = len(case.vocab)
    place_values = n_tokens ** np.arange(length - 1, -1, -1)
    return _padded(case, np.arange(n_tokens**length)[:, None] // place_values % n_tokens)


def _sample(
    case: Case, n: int, key: jax.Array, min_length: int | None, *, of_one_length: int = 1
) -> Sequences:
    """Draws `n` groups of `of_one_length` consecutive sequences with equal length.

    Lengths, and the tokens of each length, have separate keys. With a single key, rows of two
    lengths would share tokens, and lengths would be correlated with tokens.
    """
    possible, n_rows, n_tokens = _lengths(case, min_length), n * of_one_length, len(case.vocab)
    if len(possible) == 1:
        return _padded(case, draw(case.sampler, key, n_rows, possible[0], n_tokens))
    key_lengths, *keys = jax.random.split(key, 1 + len(possible))
    drawn = np.asarray(jax.random.randint(key_lengths, (n,), possible[0], possible[-1] + 1))
    lengths = np.repeat(drawn, of_one_length)
    found = np.full((n_rows, possible[-1]), PADDING, np.int32)
    for length, key_tokens in zip(possible, keys, strict=True):
        # Draws `n_rows` of each length, so that shapes are fixed and nothing is recompiled.
        rows = _padded(case, draw(case.sampler, key_tokens, n_rows, length, n_tokens))
        found[lengths == length] = rows[lengths == length]
    return found


def _padded(case: Case, rows: jax.Array | np.ndarray) -> Sequences:
    short = case.n_ctx - 1 - rows.shape[1]
    return np.pad(np.asarray(rows), ((0, 0), (0, short)), constant_values=PADDING)
