"""What the algorithm of a case says on many inputs, with and without interchanges of variables."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, Num

from interpbench_jax.cases import PADDING
from interpbench_jax.compiler.answers import (
    NO_LABEL,
    CompiledAnswers,
    TabulatedAnswers,
    answers_of,
)
from interpbench_jax.compiler.compiled import CompiledCase

# Rows per call, so that one compiled function serves all, and fewer with many interventions.
_CHUNK, _INTERVENTIONS = 2_048, 64

Sequences = Int[np.ndarray, "sequence length"]
Sets = Bool[np.ndarray, "intervention variable"]


def algorithm_outputs(
    compiled: CompiledCase, inputs: Sequences, *, tabulated: bool | None = None
) -> Num[Array, "sequence pos"]:
    """What the algorithm says.

    Args:
      compiled: the compiled case.
      inputs: indices into the vocabulary, without BOS; padded where they are shorter.
      tabulated: see `answers_of`.

    Returns:
      Labels, or values for a regression; 0 at BOS, which is position 0, and at padding.
    """
    nothing = np.zeros((1, compiled.graph.n_writers, 1), np.float32)
    tokens = compiled.codec.encode_indices(inputs)
    return answer_in_chunks(answers_of(compiled, tabulated=tabulated), tokens, tokens, nothing)[0]


def algorithm_interchanges(
    compiled: CompiledCase,
    base: Sequences,
    source: Sequences,
    *,
    sets: Sets | None = None,
    tabulated: bool | None = None,
) -> Num[Array, "intervention sequence pos"]:
    """What the algorithm says on the base, under the interchange of each variable, and of all.

    Args:
      compiled: the compiled case.
      base: indices into the vocabulary, without BOS; padded where they are shorter.
      source: inputs from which variables take their values, each as long as its base.
      sets: per intervention, which of the variables are interchanged together. By default the
        first does nothing, then comes each variable alone, and the last takes everything from the
        source: what the algorithm says there.
      tabulated: see `answers_of`.

    Returns:
      Labels, or values for a regression; 0 at BOS, which is position 0, and at padding.

    Raises:
      ValueError: a base and its source differ in length, or the sets are of other variables.
    """
    if base.shape != source.shape or ((base == PADDING) != (source == PADDING)).any():
        raise ValueError("a base and its source must have the same length")
    if sets is not None and sets.shape[1] != (known := len(compiled.variables)):
        raise ValueError(f"sets of {sets.shape[1]} variables, but the case has {known}")
    variables = compiled.graph.one_hot([variable.node for variable in compiled.variables])
    if sets is None:
        masks = np.pad(variables, ((1, 1), (0, 0)))
        masks[-1] = 1
    else:
        masks = np.minimum(sets.astype(np.float32) @ variables, 1)
    base, source = map(compiled.codec.encode_indices, (base, source))
    answers = answers_of(compiled, tabulated=tabulated)
    return answer_in_chunks(answers, base, source, masks[:, :, None])


def answer_in_chunks(
    answers: CompiledAnswers | TabulatedAnswers,
    base: Int[np.ndarray, "pair pos"],
    source: Int[np.ndarray, "pair pos"],
    masks: Num[np.ndarray, "intervention writer _"],
) -> Num[Array, "intervention pair pos"]:
    """Answers to any number of pairs, some at a time; see `Task.answers`.

    Raises:
      ValueError: the tables have no answer to some.
    """
    rows = max(1, _CHUNK * _INTERVENTIONS // max(_INTERVENTIONS, len(masks)))
    chunks = []
    for start in range(0, len(base), rows):
        some = [tokens[start : start + rows] for tokens in (base, source)]
        short = rows - len(some[0])
        padded = [np.pad(tokens, ((0, short), (0, 0)), mode="edge") for tokens in some]
        chunks.append(_answer(answers, *padded, masks)[:, : rows - short])
    said = jnp.concatenate(chunks, axis=1)
    if (jnp.isnan(said) | (said == NO_LABEL) & jnp.issubdtype(said.dtype, jnp.integer)).any():
        raise ValueError(
            "different values of an expression would be averaged; run the compiled model instead"
        )
    return said


@jax.jit
def _answer(
    answers: CompiledAnswers | TabulatedAnswers, base: Array, source: Array, masks: Array
) -> Num[Array, "intervention pair pos"]:
    return answers(base, source, masks)
