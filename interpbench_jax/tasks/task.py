"""One protocol for every kind of task: all that the rest of the package knows of an algorithm."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Num

from interpbench_jax.model import Circuit, TransformerConfig
from interpbench_jax.tasks.splits import Part, Split

Tokens = Int[Array | np.ndarray, "pair pos"]
Sources = Int[Array | np.ndarray, "*sources pair pos"]
Masks = Num[Array | np.ndarray, "intervention writer _"]


class Pairs(NamedTuple):
    """Pairs of inputs as token ids; both of one length.

    Attributes:
      base: inputs to run on.
      source: inputs that patches take their values from.
      positions: weight of each position of the base in losses and accuracies.
    """

    base: Int[np.ndarray, "pair pos"]
    source: Int[np.ndarray, "pair pos"]
    positions: Float[np.ndarray, "pair pos"]


class Behaviour(NamedTuple):
    """What an unpatched model shall say, where a task asks for more than its algorithm answers.

    Ordinary next-token prediction is an example: it is trained beside the algorithm, and no
    intervention looks at it.

    Attributes:
      target: labels or values.
      positions: weight of each position in the loss.
    """

    target: Num[Array | np.ndarray, "pair pos"]
    positions: Float[Array | np.ndarray, "pair pos"]


class Contrast(NamedTuple):
    """Inputs for discovery, and corrupted ones, as token ids.

    Attributes:
      clean: inputs to run on.
      corrupted: inputs that patches come from, row by row.
      positions: weight of each position in the loss.
      foil: the wrong label that the right one is compared with, where the task has one.
    """

    clean: Int[np.ndarray, "input pos"]
    corrupted: Int[np.ndarray, "input pos"]
    positions: Float[np.ndarray, "input pos"]
    foil: Int[np.ndarray, "input pos"] | None = None


@runtime_checkable
class Answers(Protocol):
    """What an algorithm answers under patches of its edges; a pytree, and pure."""

    def __call__(
        self, base: Tokens, source: Sources, masks: Masks
    ) -> Num[Array, "intervention pair pos"]:
        """The answers on the base.

        Args:
          base: token ids.
          source: token ids of the inputs that patched edges take their values from; with a leading
            axis where there are several.
          masks: per intervention, 1 at the edges of the algorithm that are patched; with several
            sources the number of the source, from 1. `[intervention, writer, 1]` patches what a
            writer writes for all readers alike.

        Returns:
          Labels (integers) or values (floats); 0 where nothing is answered.
        """
        ...


@runtime_checkable
class Task(Protocol):
    """A task whose algorithm is known.

    Attributes:
      name: how users ask for it.
      title: one line: what is computed.
      fingerprint: a digest of everything that decides inputs, answers and circuit.
      categorical: whether answers are labels rather than values.
      circuit: the edges by which the algorithm works, in the algorithm's own graph.
      contents: what each writer of the algorithm holds, in words.
      vocabulary: the tokens that inputs are made of, for people.
      network: the shape of the transformer that is trained on the task.
      places: for each writer of the algorithm the nodes of that transformer that hold it.
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
    def contents(self) -> Mapping[str, str]: ...  # noqa: D102

    @property
    def vocabulary(self) -> Sequence[Any]: ...  # noqa: D102

    @property
    def network(self) -> TransformerConfig: ...  # noqa: D102

    @property
    def places(self) -> Mapping[str, tuple[str, ...]]: ...  # noqa: D102

    @property
    def answers(self) -> Answers:
        """What the algorithm answers."""
        ...

    @property
    def defined_answers(self) -> Answers:
        """As `answers`, with `NO_LABEL` or NaN where the algorithm has no single answer."""
        ...

    def split(self, held_out: float) -> Split:
        """Which inputs are trained on and which are not."""
        ...

    def pairs(self, split: Split, part: Part, at_most: int, key: jax.Array) -> Pairs:
        """Distinct pairs of inputs of one part."""
        ...

    def behaviour(self, pairs: Pairs) -> Behaviour | None:
        """What the unpatched model shall say on the base; None if no more than the answers."""
        ...

    def contrast(self, n: int, key: jax.Array) -> Contrast:
        """Clean and corrupted inputs, drawn with replacement."""
        ...

    def describe(self) -> Sequence[str]:
        """The algorithm in words, line by line."""
        ...

    def decode(self, logits: Float[Array, "input pos d_vocab_out"]) -> list[list[Any]]:
        """What a model's logits say, position by position, BOS left out."""
        ...


# Rows of a call, fewer with many interventions: one compiled function serves all.
_CHUNK, _INTERVENTIONS = 2_048, 64
NO_LABEL = -1
"""Stands where an algorithm has no answer."""


def answer_in_chunks(
    answers: Answers, base: Tokens, source: Tokens, masks: Masks
) -> Num[Array, "intervention pair pos"]:
    """Answers to any number of pairs, some at a time; see `Answers`.

    Raises:
      ValueError: the algorithm has no answer to some.
    """
    base, source, masks = np.asarray(base), np.asarray(source), np.asarray(masks)
    rows = max(1, _CHUNK * _INTERVENTIONS // max(_INTERVENTIONS, len(masks)))
    chunks = []
    for start in range(0, len(base), rows):
        some = [tokens[start : start + rows] for tokens in (base, source)]
        short = rows - len(some[0])
        padded = [np.pad(tokens, ((0, short), (0, 0)), mode="edge") for tokens in some]
        chunks.append(_answer(answers, *padded, masks)[:, : rows - short])
    found = jnp.concatenate(chunks, axis=1)
    if (jnp.isnan(found) | (found == NO_LABEL) & jnp.issubdtype(found.dtype, jnp.integer)).any():
        raise ValueError(
            "different values of an expression would be averaged; run the compiled model instead"
        )
    return found


@jax.jit
def _answer(
    answers: Any, base: Array, source: Array, masks: Array
) -> Num[Array, "intervention pair pos"]:
    return answers(base, source, masks)
