"""The number of patched runs of a batch that run in parallel."""

import jax

from interpbench_jax.discovery.batch import ContrastBatch

# Approximate limit of numbers held by parallel runs: a gibibyte of float32.
_BUDGET = 2**28


def runs_at_once(batch: ContrastBatch) -> int:
    """1 on a CPU, where a loop is fastest; otherwise as many as memory allows.

    A run holds the writers' outputs, the weights of attention (at most one head per writer), and
    the logits.
    """
    if jax.default_backend() == "cpu" or batch.written is None:
        return 1
    n_rows, n_positions, n_writers, _ = batch.written.shape
    attention = n_rows * n_positions**2 * n_writers
    return max(1, _BUDGET // (batch.written.size + attention + batch.clean_logits.size))
