"""The algorithm's answers under sets of its edges, and the pairs to which it has one."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Num

from interpbench_jax.tasks.task import Answers, AnswersAtPositions, has_answer


@jax.jit
def answer_sets(
    answers: Answers,
    base: Int[Array | np.ndarray, "set row pos"],
    source: Int[Array | np.ndarray, "set row pos"],
    masks: Float[Array | np.ndarray, "set writer reader"],
    patched_at: Float[Array | np.ndarray, "set row pos"] | None = None,
) -> Num[Array, "set row pos"]:
    """The answers on the bases, each row of inputs under the patch of its set.

    Args:
      answers: the algorithm.
      base: token ids of the inputs to run on.
      source: token ids of the inputs from which patched edges take their values.
      masks: for each set, 1 at the algorithm's edges that are patched.
      patched_at: for each row, 1 at the positions where they are patched; everywhere by default.

    Raises:
      ValueError: there are positions, but the algorithm does not say where its values are.
    """
    return jax.lax.map(
        lambda case: answers_under(answers, *case), (base, source, masks, patched_at)
    )


def answers_under(
    answers: Answers,
    base: Int[Array, "row pos"],
    source: Int[Array, "row pos"],
    mask: Float[Array, "writer reader"],
    patched_at: Float[Array, "*row pos"] | None = None,
) -> Num[Array, "row pos"]:
    """The answers on the bases under one patch.

    Args:
      answers: the algorithm.
      base: token ids of the inputs to run on.
      source: token ids of the inputs from which patched edges take their values.
      mask: 1 at the algorithm's edges that are patched.
      patched_at: 1 at the positions where they are patched, for all rows or for each; everywhere by
        default.

    Raises:
      ValueError: there are positions, but the algorithm does not say where its values are.
    """
    if patched_at is None:
        return answers(base, source, mask[None])[0]
    if not isinstance(answers, AnswersAtPositions):
        raise ValueError(
            "edges cannot be patched at single positions: the task's algorithm does not say at "
            "which position its values are; set position_rows to 0"
        )
    here = jnp.broadcast_to(patched_at, base.shape)
    return answers.at_positions(base, source, mask[None], here)[0]


def answered(
    targets: Num[np.ndarray, "set pair pos"], position_weights: Float[np.ndarray, "pair pos"]
) -> Bool[np.ndarray, "set pair"]:
    """The pairs with an answer at a position that counts.

    Args:
      targets: the algorithm's answers under each set.
      position_weights: weight of each position.
    """
    counted: Bool[np.ndarray, "set pair pos"] = np.logical_and(
        has_answer(targets), position_weights > 0
    )
    return np.any(counted, 2)
