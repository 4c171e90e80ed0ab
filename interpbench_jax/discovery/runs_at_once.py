"""How many patched runs of a batch are done side by side."""

import jax

from interpbench_jax.discovery.batch import ContrastBatch

# Numbers that runs side by side may hold, about; a gibibyte of float32.
_BUDGET = 2**28


def runs_at_once(batch: ContrastBatch) -> int:
    """One after the other on a CPU, where that is fastest; elsewhere as memory allows.

    A run holds what writers write, the weights of attention (of one head a writer, at most), and
    the logits.
    """
    if jax.default_backend() == "cpu" or batch.written is None:
        return 1
    n_rows, n_positions, n_writers, _ = batch.written.shape
    attention = n_rows * n_positions**2 * n_writers
    return max(1, _BUDGET // (batch.written.size + attention + batch.clean_logits.size))
