"""Subsets of elements, as rows of masks."""

import jax
import numpy as np
from jaxtyping import Array, Bool


def every_subset(n: int) -> Bool[np.ndarray, "subset element"]:
    """All subsets of n elements; element e is in subset i if bit e of i is 1."""
    return (np.arange(2**n)[:, None] >> np.arange(n) & 1).astype(bool)


def draw_subsets(key: Array, n_subsets: int, n: int) -> Bool[Array, "subset element"]:
    """Random subsets of n elements, each included with probability 1/2."""
    return jax.random.bernoulli(key, 0.5, (n_subsets, n))
