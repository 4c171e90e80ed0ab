"""Inputs drawn so that both answers of a program are common.

Programs that test for something rare (all elements are equal, for example) give the same answer for
nearly all uniform sequences. A `Mixture` turns a share of the inputs into examples of the rare
answer or into near misses. Each kind of example is a function of a random key, uniformly drawn
sequences, and the number of tokens; sequences are indices into the vocabulary.
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

Sequences = Int[Array, "batch length"]
Maker = Callable[[Array, Sequences, int], Sequences]
"""`(key, uniformly drawn sequences, number of tokens) -> sequences of one kind`."""


@dataclass(frozen=True)
class Mixture:
    """Draws each input independently: one of these kinds with its probability, else uniformly.

    Attributes:
      parts: `(probability, kind)` pairs; kinds are module-level functions.
    """

    parts: tuple[tuple[float, Maker], ...]

    def __post_init__(self) -> None:
        """Checks the probabilities."""
        shares = [share for share, _ in self.parts]
        if not shares or min(shares) <= 0 or sum(shares) > 1 + 1e-9:
            raise ValueError(f"probabilities must be positive, with a sum of at most 1: {shares}")


def draw(mixture: Mixture | None, key: Array, n: int, length: int, n_tokens: int) -> Sequences:
    """Draws sequences, uniformly if there is no mixture.

    Args:
      mixture: the kinds to draw and their probabilities.
      key: a JAX random key.
      n: number of sequences.
      length: tokens per sequence.
      n_tokens: size of the vocabulary.
    """
    if mixture is None:
        return jax.random.randint(key, (n, length), 0, n_tokens)
    key_draw, key_part, *keys = jax.random.split(key, 2 + len(mixture.parts))
    drawn = jax.random.randint(key_draw, (n, length), 0, n_tokens)
    sequences, place, below = drawn, jax.random.uniform(key_part, (n, 1)), 0.0
    for (share, make), key_make in zip(mixture.parts, keys, strict=True):
        here = (below <= place) & (place < below + share)
        sequences = jnp.where(here, make(key_make, drawn, n_tokens), sequences)
        below += share
    return sequences


def palindromes(key: Array, drawn: Sequences, n_tokens: int) -> Sequences:
    """The second half mirrors the first."""
    del key, n_tokens
    length = drawn.shape[1]
    place = np.arange(length)
    return drawn[:, np.minimum(place, length - 1 - place)]


def with_period_two(key: Array, drawn: Sequences, n_tokens: int) -> Sequences:
    """Two tokens alternate."""
    del key, n_tokens
    return drawn[:, np.arange(drawn.shape[1]) % 2]


def ascending(key: Array, drawn: Sequences, n_tokens: int) -> Sequences:
    """Sorted in ascending order; neighbours may be equal."""
    del key, n_tokens
    return jnp.sort(drawn, axis=1)


def one_descent(key: Array, drawn: Sequences, n_tokens: int) -> Sequences:
    """Sorted in ascending order, except that two neighbours change places."""
    del n_tokens
    n, length = drawn.shape
    left = jax.random.randint(key, (n, 1), 0, max(length - 1, 1))
    place = jnp.arange(length)[None]
    swapped = jnp.where(place == left, place + 1, jnp.where(place == left + 1, place - 1, place))
    return jnp.take_along_axis(jnp.sort(drawn, axis=1), swapped.clip(0, length - 1), axis=1)


def descending(key: Array, drawn: Sequences, n_tokens: int) -> Sequences:
    """Sorted in descending order; neighbours may be equal."""
    return ascending(key, drawn, n_tokens)[:, ::-1]


def all_same(key: Array, drawn: Sequences, n_tokens: int) -> Sequences:
    """One token throughout."""
    del key, n_tokens
    return jnp.broadcast_to(drawn[:, :1], drawn.shape)


def all_but_one_same(key: Array, drawn: Sequences, n_tokens: int) -> Sequences:
    """One token throughout, except for another one at one position."""
    key_place, key_other = jax.random.split(key)
    length = drawn.shape[1]
    place = jax.random.randint(key_place, (len(drawn), 1), 0, length)
    other = drawn[:, :1] + jax.random.randint(key_other, (len(drawn), 1), 1, n_tokens)
    return jnp.where(jnp.arange(length)[None] == place, other % n_tokens, drawn[:, :1])


def repeated_end(key: Array, drawn: Sequences, n_tokens: int) -> Sequences:
    """The last two tokens are equal."""
    del key, n_tokens
    return drawn.at[:, -1].set(drawn[:, -2])


def all_distinct(key: Array, drawn: Sequences, n_tokens: int) -> Sequences:
    """No token occurs twice."""
    every = jnp.broadcast_to(jnp.arange(n_tokens), (len(drawn), n_tokens))
    return jax.random.permutation(key, every, axis=1, independent=True)[:, : drawn.shape[1]]


def one_repeat(key: Array, drawn: Sequences, n_tokens: int) -> Sequences:
    """Exactly one token occurs twice."""
    key_tokens, key_places = jax.random.split(key)
    tokens = all_distinct(key_tokens, drawn, n_tokens)
    places = jnp.broadcast_to(jnp.arange(drawn.shape[1]), drawn.shape)
    places = jax.random.permutation(key_places, places, axis=1, independent=True)
    rows = jnp.arange(len(drawn))
    return tokens.at[rows, places[:, 0]].set(tokens[rows, places[:, 1]])


def only_even(key: Array, drawn: Sequences, n_tokens: int) -> Sequences:
    """Even indices only."""
    del key, n_tokens
    return drawn - drawn % 2


def one_odd(key: Array, drawn: Sequences, n_tokens: int) -> Sequences:
    """Even indices except at one position; an odd vocabulary's last token is not used."""
    place = jax.random.randint(key, (len(drawn), 1), 0, drawn.shape[1])
    odd = jnp.arange(drawn.shape[1])[None] == place
    return _with_parity(drawn, odd, n_tokens)


def alternating_parity(key: Array, drawn: Sequences, n_tokens: int) -> Sequences:
    """Even and odd indices alternate."""
    first = jax.random.randint(key, (len(drawn), 1), 0, 2)
    odd = (first + jnp.arange(drawn.shape[1])[None]) % 2 == 1
    return _with_parity(drawn, odd, n_tokens)


def shuffled_brackets(key: Array, drawn: Sequences, n_tokens: int) -> Sequences:
    """Uniform over the sequences in which each of the two kinds of brackets is balanced.

    The tokens are "(", ")", another token, "{" and "}", in this order. From left to right, each
    token is drawn in proportion to the number of balanced sequences that continue with it.
    """
    del n_tokens
    length = drawn.shape[1]
    steps = np.array([(1, 0), (-1, 0), (0, 0), (0, 1), (0, -1)])
    ways = _ways_to_close(length, steps)
    chance = jax.random.uniform(key, drawn.shape)
    opened = jnp.zeros((len(drawn), 2), int)
    tokens = []
    for place in range(length):
        # ways[left, i + 1, j + 1]: i and j brackets are open, `left` tokens remain
        reached = opened[:, None, :] + steps[None] + 1
        after = ways[length - place - 1][reached[..., 0], reached[..., 1]]
        reach = jnp.cumsum(after, axis=1)
        token = (reach <= chance[:, place, None] * reach[:, -1:]).sum(1)
        opened += jnp.asarray(steps)[token]
        tokens.append(token)
    return jnp.stack(tokens, axis=1)


def _ways_to_close(length: int, steps: np.ndarray) -> Float[Array, "left opened opened"]:
    """The number of ways to close all brackets; offset by one, so that -1 has an entry."""
    ways = np.zeros((length + 1, length + 3, length + 3))
    ways[0, 1, 1] = 1
    for left in range(1, length + 1):
        for i, j in np.ndindex(length + 1, length + 1):
            ways[left, i + 1, j + 1] = sum(ways[left - 1, i + 1 + a, j + 1 + b] for a, b in steps)
    return jnp.asarray(ways)


def _with_parity(drawn: Sequences, odd: Bool[Array, "batch length"], n_tokens: int) -> Sequences:
    moved = drawn - drawn % 2 + odd
    return jnp.where(moved < n_tokens, moved, moved - 2)
