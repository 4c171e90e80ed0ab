"""How many patched runs of a batch are done side by side."""

import jax

from interpbench_jax.discovery.batch import ContrastBatch

# Numbers that runs side by side may hold in their residual streams; a gibibyte of float32.
_BUDGET = 2**28


def runs_at_once(batch: ContrastBatch) -> int:
    """One after the other on a CPU, where that is fastest; elsewhere as memory allows."""
    if jax.default_backend() == "cpu" or batch.written is None:
        return 1
    return max(1, _BUDGET // batch.written.size)
