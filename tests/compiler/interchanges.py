"""The algorithm's answers under interchanges of variables, by either way to compute them."""

import numpy as np

from interpbench_jax.compiler import CompiledCase
from interpbench_jax.tasks.task import answer_in_chunks


def algorithm_interchanges(
    compiled: CompiledCase, base: np.ndarray, source: np.ndarray, *, tabulated: bool | None = None
) -> np.ndarray:
    """Answers `[intervention, input, pos]`: of no variable, each variable alone, and everything."""
    variables = compiled.graph.one_hot([variable.node for variable in compiled.variables])
    masks = np.pad(variables, ((1, 1), (0, 0)))
    masks[-1] = 1
    base, source = map(compiled.codec.encode_indices, (base, source))
    answers = compiled.answers_by(tabulated=tabulated)
    return answer_in_chunks(answers, base, source, masks[:, :, None])
