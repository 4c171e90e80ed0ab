"""The algorithm's answers under sets of its edges, and the pairs to which it has one."""

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Num

from interpbench_jax.tasks.task import Answers, AnswersAtPositions, has_answer


@jax.jit
def answer_sets(
    answers: Answers,
    base: Int[Array | np.ndarray, "set row pos"],
    source: Int[Array | np.ndarray, "set row pos"],
    masks: Float[Array | np.ndarray, "set writer reader"],
    positions: Float[Array | np.ndarray, "set row pos"] | None = None,
) -> Num[Array, "set row pos"]:
    """The answers on the bases, each row of inputs under the patch of its set.

    Args:
      answers: the algorithm.
      base: token ids of the inputs to run on.
      source: token ids of the inputs from which patched edges take their values.
      masks: for each set, 1 at the algorithm's edges that are patched.
      positions: for each row, 1 at the positions where they are patched; everywhere by default.

    Raises:
      ValueError: there are positions, but the algorithm does not say where its values are.
    """

    def of_set(case: tuple[Array, Array, Array, Array | None]) -> Num[Array, "row pos"]:
        base, source, mask, at = case
        if at is None:
            return answers(base, source, mask[None])[0]
        if not isinstance(answers, AnswersAtPositions):
            raise ValueError(
                "edges cannot be patched at single positions: the task's algorithm does not say at "
                "which position its values are; set position_rows to 0"
            )
        return answers.at_positions(base, source, mask[None], at)[0]

    return jax.lax.map(of_set, (base, source, masks, positions))


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
