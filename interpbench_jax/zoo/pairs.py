"""Pairs of inputs to judge a model by, and what the model has seen of them."""

from dataclasses import replace
from typing import NamedTuple

import jax

from interpbench_jax.tasks import HELD_OUT, Pairs, Split
from interpbench_jax.zoo.model import BenchmarkModel


class EvaluationPairs(NamedTuple):
    """Pairs to judge a model by.

    Attributes:
      pairs: as token ids.
      held_out: whether no sequence was trained on or used to choose the weights; none if the
        model's card does not tell.
      statement: the same in words.
    """

    pairs: Pairs
    held_out: bool | None
    statement: str


def evaluation_pairs(model: BenchmarkModel, n: int, seed: int) -> EvaluationPairs:
    """Draws distinct pairs of a model's case, from the sequences that are kept for tests.

    The model has not seen them if its card records that it was trained on the other parts of the
    same division. Models trained before cards had this record drew from all sequences.

    Args:
      model: its card tells on what it was trained.
      n: how many, at most: a case of few sequences has fewer.
      seed: which ones.

    Raises:
      ValueError: `n` is smaller than 1.
    """
    if n < 1:
        raise ValueError(f"n_pairs must be at least 1, got {n}")
    split, held_out, statement = _seen(model)
    pairs = model.task.pairs(split, "test", n, jax.random.key(seed))
    return EvaluationPairs(pairs, held_out, statement)


def held_out_statement(model: BenchmarkModel) -> str:
    """Whether the model has seen the sequences that are kept for tests, in words."""
    return _seen(model)[2]


def _seen(model: BenchmarkModel) -> tuple[Split, bool | None, str]:
    """How the model's task is divided, and what is known of the part for tests."""
    task, held_out = model.task, model.data.held_out
    if held_out is None:
        usual = task.split(HELD_OUT)
        return (usual, False, _OLDER) if "config" in model.card else (usual, None, _UNKNOWN)
    split = task.split(held_out or HELD_OUT)
    if held_out:
        return replace(split, divided=True), True, _HELD_OUT
    return replace(split, divided=False), False, _TOO_FEW


_HELD_OUT = "on sequences not trained on, nor used to choose the weights"
_TOO_FEW = "NOT held out: the task has too few sequences to keep some from training"
_OLDER = "NOT held out: trained on pairs of all sequences, before some were kept for tests"
_UNKNOWN = "perhaps trained on: the model's card does not tell"
