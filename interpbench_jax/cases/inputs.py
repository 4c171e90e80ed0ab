"""Inputs of a case: every sequence where these are few, drawn ones otherwise."""

import jax
import numpy as np
from jaxtyping import Int

from interpbench_jax.cases.case import Case
from interpbench_jax.cases.samplers import draw


def n_sequences(case: Case) -> int:
    """How many sequences of full length the case has."""
    return len(case.vocab) ** (case.n_ctx - 1)


def all_sequences(case: Case) -> Int[np.ndarray, "sequence pos"]:
    """Every sequence of full length, in order, as indices into `case.vocab` (no BOS)."""
    n_tokens, length = len(case.vocab), case.n_ctx - 1
    place_values = n_tokens ** np.arange(length - 1, -1, -1)
    return np.arange(n_sequences(case))[:, None] // place_values % n_tokens


def sample_sequences(case: Case, n: int, key: jax.Array) -> Int[np.ndarray, "sequence pos"]:
    """Draws sequences with replacement, as indices into `case.vocab` (no BOS).

    They are uniform, or what `case.sampler` says; each is drawn on its own, so that any part of
    them is a sample too.

    Args:
      case: the case.
      n: how many.
      key: a JAX random key.
    """
    return np.asarray(draw(case.sampler, key, n, case.n_ctx - 1, len(case.vocab)))


def sequences(case: Case, at_most: int, key: jax.Array) -> Int[np.ndarray, "sequence pos"]:
    """All sequences where there are no more than `at_most`, else that many drawn ones."""
    if n_sequences(case) <= at_most:
        return all_sequences(case)
    return sample_sequences(case, at_most, key)
