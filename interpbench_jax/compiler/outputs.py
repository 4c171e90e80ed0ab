"""Answers of a case's algorithm on many inputs."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Num

from interpbench_jax.compiler.compiled import CompiledCase
from interpbench_jax.tasks.task import answer_in_chunks

Sequences = Int[np.ndarray, "sequence length"]


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
