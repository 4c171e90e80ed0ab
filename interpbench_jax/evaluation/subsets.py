"""Subsets of elements, as rows of masks."""

import jax
import numpy as np
from jaxtyping import Array, Bool


def every_subset(n: int) -> Bool[np.ndarray, "subset element"]:
    """All subsets of n elements; row i holds the binary digits of i, so the empty set is first."""
    return (np.arange(2**n)[:, None] >> np.arange(n)[None]) % 2 == 1


def draw_subsets(key: Array, n_subsets: int, n: int) -> Bool[Array, "subset element"]:
    """Random subsets of n elements, each included with probability 1/2."""
    return jax.random.bernoulli(key, 0.5, (n_subsets, n))
