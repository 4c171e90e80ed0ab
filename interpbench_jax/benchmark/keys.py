"""Random keys of a run: one for each thing that is drawn, the same from every command."""

import hashlib
from typing import Literal

import jax
from jaxtyping import Array

Drawn = Literal["inputs", "scoring inputs", "method", "circuits"]
"""The inputs that a method works on, those on which circuits are run, what a method draws itself,
and which edges completeness and minimality patch together."""


def key_of(seed: int, drawn: Drawn, case: str, method: str = "") -> Array:
    """The key for one purpose.

    It depends on the seed and on what it is for, never on what else is run beside it: one seed
    gives one result, and no key serves twice. Methods share inputs, and nothing else.

    Args:
      seed: of the run.
      drawn: the purpose.
      case: of the model.
      method: the name of a method, where the purpose is its own.
    """
    purpose = hashlib.sha256("\n".join((drawn, case, method)).encode()).digest()
    return jax.random.fold_in(jax.random.key(seed), int.from_bytes(purpose[:4]))
