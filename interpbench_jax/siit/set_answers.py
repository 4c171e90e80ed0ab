"""The algorithm's answers under sets of its edges, and the pairs to which it has one."""

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Num

from interpbench_jax.tasks.task import Answers, has_answer


@jax.jit
def answer_sets(
    answers: Answers,
    base: Int[Array | np.ndarray, "set row pos"],
    source: Int[Array | np.ndarray, "set row pos"],
    masks: Float[Array | np.ndarray, "set writer reader"],
) -> Num[Array, "set row pos"]:
    """The answers on the bases, each row of inputs under the patch of its set.

    Args:
      answers: the algorithm.
      base: token ids of the inputs to run on.
      source: token ids of the inputs from which patched edges take their values.
      masks: for each set, 1 at the algorithm's edges that are patched.
    """
    return jax.lax.map(
        lambda case: answers(case[0], case[1], case[2][None])[0], (base, source, masks)
    )


def answered(
    targets: Num[np.ndarray, "set pair pos"], positions: Float[np.ndarray, "pair pos"]
) -> Bool[np.ndarray, "set pair"]:
    """The pairs with an answer at a position that counts.

    Args:
      targets: the algorithm's answers under each set.
      positions: weight of each position.
    """
    counted: Bool[np.ndarray, "set pair pos"] = np.logical_and(has_answer(targets), positions > 0)
    return np.any(counted, 2)
