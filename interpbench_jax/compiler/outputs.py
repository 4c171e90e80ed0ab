"""Answers of a case's algorithm on many inputs, with and without interchanges of variables."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, Num

from interpbench_jax.cases import PADDING
from interpbench_jax.compiler.compiled import CompiledCase
from interpbench_jax.tasks.task import answer_in_chunks

Sequences = Int[np.ndarray, "sequence length"]
Sets = Bool[np.ndarray, "intervention variable"]


def algorithm_outputs(
    compiled: CompiledCase, inputs: Sequences, *, tabulated: bool | None = None
) -> Num[Array, "sequence pos"]:
    """The algorithm's answers.

    Args:
      compiled: the compiled case.
      inputs: indices into the vocabulary, without BOS; shorter inputs are padded.
      tabulated: see `CompiledCase.answers_by`.

    Returns:
      Labels, or values for a regression; 0 at BOS, which is position 0, and at padding.
    """
    nothing = np.zeros((1, compiled.graph.n_writers, 1), np.float32)
    tokens = compiled.codec.encode_indices(inputs)
    answers = compiled.answers_by(tabulated=tabulated)
    return jnp.asarray(answer_in_chunks(answers, tokens, tokens, nothing)[0])


def algorithm_interchanges(
    compiled: CompiledCase,
    base: Sequences,
    source: Sequences,
    *,
    sets: Sets | None = None,
    tabulated: bool | None = None,
) -> Num[Array, "intervention sequence pos"]:
    """The algorithm's answers on the base under interchanges of variables.

    Args:
      compiled: the compiled case.
      base: indices into the vocabulary, without BOS; shorter inputs are padded.
      source: inputs from which variables take their values, each as long as its base.
      sets: per intervention, which variables are interchanged together. By default: none, then
        each variable alone, and last everything, which gives the answers on the source.
      tabulated: see `CompiledCase.answers_by`.

    Returns:
      Labels, or values for a regression; 0 at BOS, which is position 0, and at padding.

    Raises:
      ValueError: a base and its source differ in length, or the sets do not fit the variables.
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
    answers = compiled.answers_by(tabulated=tabulated)
    return jnp.asarray(answer_in_chunks(answers, base, source, masks[:, :, None]))
