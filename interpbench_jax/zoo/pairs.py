"""Pairs of inputs for evaluating a model, and whether they were held out."""

from dataclasses import replace
from typing import NamedTuple

import jax

from interpbench_jax.tasks import HELD_OUT, Pairs, Split
from interpbench_jax.zoo.model import BenchmarkModel


class EvaluationPairs(NamedTuple):
    """Pairs for evaluating a model.

    Attributes:
      pairs: pairs as token ids.
      held_out: whether the sequences were used neither for training nor for choosing the weights;
        None if the model's card does not say.
      statement: the same in words.
    """

    pairs: Pairs
    held_out: bool | None
    statement: str


def evaluation_pairs(model: BenchmarkModel, n: int, seed: int) -> EvaluationPairs:
    """Draws distinct pairs of a model's case from the test sequences.

    They are held out if the card records that the model was trained on the other parts of the same
    split. Models without this record were trained on pairs of all sequences.

    Args:
      model: the model, whose card records what it was trained on.
      n: the largest number of pairs; a case with few sequences has fewer.
      seed: seed of the random choice.

    Raises:
      ValueError: `n` is smaller than 1.
    """
    if n < 1:
        raise ValueError(f"n_pairs must be at least 1, got {n}")
    split, held_out, statement = _seen(model)
    pairs = model.task.pairs(split, "test", n, jax.random.key(seed))
    return EvaluationPairs(pairs, held_out, statement)


def held_out_statement(model: BenchmarkModel) -> str:
    """A statement of whether the test sequences were held out."""
    return _seen(model)[2]


def _seen(model: BenchmarkModel) -> tuple[Split, bool | None, str]:
    """The split of the model's task, and whether its test part was held out."""
    task, held_out = model.task, model.data.held_out
    if held_out is None:
        usual = task.split(HELD_OUT)
        return (usual, False, _OLDER) if "config" in model.card else (usual, None, _UNKNOWN)
    split = task.split(held_out or HELD_OUT)
    if held_out:
        shared = _COMMON.format(len(split.common)) if split.common else ""
        return replace(split, divided=True), True, _HELD_OUT + shared
    return replace(split, divided=False), False, _TOO_FEW


_HELD_OUT = "on held-out sequences, used neither for training nor for choosing the weights"
_COMMON = ", except {} common ones, which are in every part"
_TOO_FEW = "NOT held out: the task has too few sequences to hold some out"
_OLDER = "NOT held out: trained on pairs of all sequences, before sequences were split"
_UNKNOWN = "perhaps NOT held out: the model's card does not say"
