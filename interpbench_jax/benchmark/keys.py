"""Random keys of a run: one for each purpose, the same in every command."""

import hashlib
from typing import Literal

import jax
from jaxtyping import Array

Drawn = Literal["inputs", "scoring inputs", "method", "circuits"]
"""Purposes of keys: a method's inputs, the inputs on which circuits are run, a method's own
randomness, and the sets of edges of completeness and minimality."""


def key_of(seed: int, drawn: Drawn, case: str, method: str = "") -> Array:
    """The key for one purpose.

    It depends on the seed and the purpose, but not on other runs: one seed always gives the same
    result, and no key is used twice. Methods share their inputs but no other randomness.

    Args:
      seed: seed of the run.
      drawn: the purpose.
      case: the model's case.
      method: name of the method, if the purpose is specific to it.
    """
    purpose = hashlib.sha256("\n".join((drawn, case, method)).encode()).digest()
    return jax.random.fold_in(jax.random.key(seed), int.from_bytes(purpose[:4]))
