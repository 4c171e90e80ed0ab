"""The protocol of all tasks: the package's interface to an algorithm."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Num

from interpbench_jax.model import Circuit, TransformerConfig
from interpbench_jax.tasks.splits import Part, Split

Tokens = Int[Array | np.ndarray, "pair pos"]
Sources = Int[Array | np.ndarray, "*sources pair pos"]
Masks = Num[Array | np.ndarray, "intervention writer _"]
PatchedAt = Float[Array | np.ndarray, "pair pos"]


class Pairs(NamedTuple):
    """Pairs of inputs of equal length, as token ids.

    Attributes:
      base: inputs to run on.
      source: inputs from which patches take their values.
      position_weights: weight of each position of the base in losses and accuracies.
    """

    base: Int[np.ndarray, "pair pos"]
    source: Int[np.ndarray, "pair pos"]
    position_weights: Float[np.ndarray, "pair pos"]


class Behaviour(NamedTuple):
    """Target outputs of the unpatched model, if a task requires more than the algorithm's answers.

    An example is ordinary next-token prediction: it is trained along with the algorithm, and
    interventions do not test it.

    Attributes:
      target: labels or values.
      position_weights: weight of each position in the loss.
    """

    target: Num[Array | np.ndarray, "pair pos"]
    position_weights: Float[Array | np.ndarray, "pair pos"]


class Contrast(NamedTuple):
    """Clean and corrupted inputs for discovery, as token ids.

    Attributes:
      clean: inputs to run on.
      corrupted: inputs from which patches take their values, row by row.
      position_weights: weight of each position in the loss.
      foil: the wrong label that the right one is compared with, if the task has one.
    """

    clean: Int[np.ndarray, "input pos"]
    corrupted: Int[np.ndarray, "input pos"]
    position_weights: Float[np.ndarray, "input pos"]
    foil: Int[np.ndarray, "input pos"] | None = None


@runtime_checkable
class Answers(Protocol):
    """The answers of an algorithm under patches of its edges; a pytree and a pure function."""

    def __call__(
        self, base: Tokens, source: Sources, masks: Masks
    ) -> Num[Array, "intervention pair pos"]:
        """The answers on the base.

        Args:
          base: token ids.
          source: token ids of the inputs from which patched edges take their values; has a leading
            axis if there are several sources.
          masks: per intervention, 1 at the edges of the algorithm that are patched; with several
            sources, the number of the source, from 1. `[intervention, writer, 1]` patches a
            writer's output for all its readers.

        Returns:
          Labels (integers) or values (floats); 0 where there is no answer.
        """
        ...


@runtime_checkable
class AnswersAtPositions(Answers, Protocol):
    """Answers of an algorithm that says at which position every value is: a RASP program."""

    def at_positions(
        self, base: Tokens, source: Sources, masks: Masks, patched_at: PatchedAt
    ) -> Num[Array, "intervention pair pos"]:
        """The answers on the base if edges are patched at some positions only; see `Answers`.

        Args:
          base: token ids.
          source: token ids of the inputs from which patched edges take their values.
          masks: per intervention, 1 at the edges that are patched.
          patched_at: 1 at the positions where readers see patched values.
        """
        ...


@runtime_checkable
class Task(Protocol):
    """A task whose algorithm is known.

    Attributes:
      name: the name by which users refer to it.
      title: one line: what is computed.
      fingerprint: a digest of everything that decides inputs, answers and circuit.
      categorical: whether answers are labels rather than values.
      circuit: the edges of the algorithm, in the algorithm's own graph.
      contents: the names of the values that each writer of the algorithm holds.
      vocabulary: the tokens of inputs, in readable form.
      network: the shape of the transformer that is trained on the task.
      places: for each writer of the algorithm, the nodes of that transformer that hold it.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def title(self) -> str: ...  # noqa: D102

    @property
    def fingerprint(self) -> str: ...  # noqa: D102

    @property
    def categorical(self) -> bool: ...  # noqa: D102

    @property
    def circuit(self) -> Circuit: ...  # noqa: D102

    @property
    def contents(self) -> Mapping[str, tuple[str, ...]]: ...  # noqa: D102

    @property
    def vocabulary(self) -> Sequence[Any]: ...  # noqa: D102

    @property
    def network(self) -> TransformerConfig: ...  # noqa: D102

    @property
    def places(self) -> Mapping[str, tuple[str, ...]]: ...  # noqa: D102

    @property
    def answers(self) -> Answers:
        """The algorithm's answers."""
        ...

    @property
    def defined_answers(self) -> Answers:
        """The same, but `NO_LABEL` or NaN where the algorithm has no single answer.

        This happens if a patch makes a program average several values where it needs a single one.
        """
        ...

    def split(self, held_out: float) -> Split:
        """Which inputs are for training and which are held out."""
        ...

    def pairs(self, split: Split, part: Part, at_most: int, key: jax.Array) -> Pairs:
        """Distinct pairs of inputs from one part."""
        ...

    def encode_pairs(
        self, base: Int[np.ndarray, "pair length"], source: Int[np.ndarray, "pair length"]
    ) -> Pairs:
        """Pairs of sequences as the input source gives them, as token ids with weights."""
        ...

    def position_weights_of(
        self, tokens: Int[np.ndarray, "input pos"]
    ) -> Float[np.ndarray, "input pos"]:
        """The weight of every position of inputs in losses and accuracies."""
        ...

    def behaviour(self, pairs: Pairs) -> Behaviour | None:
        """Target outputs of the unpatched model on the base; None if just the answers."""
        ...

    def contrast(self, n: int, key: jax.Array) -> Contrast:
        """Clean and corrupted inputs, drawn with replacement."""
        ...

    def describe(self) -> Sequence[str]:
        """The algorithm in words, line by line."""
        ...

    def decode(self, logits: Float[Array, "input pos d_vocab_out"]) -> list[list[Any]]:
        """The outputs that logits stand for, position by position, without BOS."""
        ...


# Rows of a call (fewer with many interventions), fixed so that one compiled function is reused.
_CHUNK, _INTERVENTIONS = 2_048, 64
NO_LABEL = -1
"""Marks positions where an algorithm has no answer."""


def has_answer(answers: Num[Array | np.ndarray, "*shape"]) -> Bool[Array | np.ndarray, "*shape"]:
    """Where an algorithm has an answer: a label other than `NO_LABEL`, or a number other than NaN.

    Args:
      answers: labels or values.
    """
    if np.issubdtype(answers.dtype, np.integer):
        return answers != NO_LABEL
    return answers == answers  # false for NaN


def answers_differ(
    one: Num[np.ndarray, "*shape"], other: Num[np.ndarray, "*shape"], tolerance: float
) -> Bool[np.ndarray, "*shape"]:
    """Where both are answers, and they differ: labels at all, values by more than a tolerance.

    Args:
      one: labels or values.
      other: labels or values of the same kind.
      tolerance: values that differ by at most this are the same answer.
    """
    if np.issubdtype(one.dtype, np.integer):
        return np.asarray(has_answer(one) & has_answer(other) & (one != other))
    return np.abs(one - other) > tolerance  # never true of NaN


def answer_in_chunks(
    answers: Answers, base: Tokens, source: Tokens, masks: Masks
) -> Num[np.ndarray, "intervention pair pos"]:
    """Answers to any number of pairs, a chunk at a time; see `Answers`.

    Raises:
      ValueError: the algorithm has no answer to some pairs.
    """
    base, source, masks = np.asarray(base), np.asarray(source), np.asarray(masks)
    rows = max(1, _CHUNK * _INTERVENTIONS // max(_INTERVENTIONS, len(masks)))
    chunks = []
    for start in range(0, len(base), rows):
        some = [tokens[start : start + rows] for tokens in (base, source)]
        short = rows - len(some[0])
        padded = [np.pad(tokens, ((0, short), (0, 0)), mode="edge") for tokens in some]
        chunks.append(np.asarray(_answer(answers, *padded, masks))[:, : rows - short])
    found = np.concatenate(chunks, axis=1)
    if not np.all(has_answer(found)):
        raise ValueError(
            "the algorithm has no answer to some pairs: it gave -1 or NaN. In a RASP program, "
            "different values of an expression would be averaged; run the compiled model instead"
        )
    return found


@jax.jit
def _answer(
    answers: Any, base: Array, source: Array, masks: Array
) -> Num[Array, "intervention pair pos"]:
    return answers(base, source, masks)
