"""The two forms of attention in `interpbench_jax.model.attention`, forward and backward.

Run: `.venv/bin/python benchmarks/attention_forms.py`. Shapes are those of a training step on case
13: 4 heads of size 5, 10 positions, 768 rows. The last line printed is JSON: median seconds of each
form.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from timing import seconds_of_calls

from interpbench_jax.files import to_json
from interpbench_jax.model import attention
from interpbench_jax.model.backward import DERIVATIVE

HEADS, D_HEAD, POS, ROWS = 4, 5, 10, 768


def median_seconds(function: Callable[[jax.Array], object], qkv: jax.Array) -> float:
    """Median wall time of a compiled function."""
    return float(np.median(seconds_of_calls(lambda: function(qkv), 30)))


def main() -> None:
    """Measure both forms in one process."""
    qkv = jax.random.normal(jax.random.key(0), (3, HEADS, D_HEAD, POS, ROWS))
    results = {}
    for name, form in (("matmul", attention._matmul), ("unrolled", attention._unrolled)):
        run = functools.partial(form, False, padding=None, backward=DERIVATIVE)

        def loss(qkv: jax.Array, run=run) -> jax.Array:
            return jnp.sum(run(qkv) ** 2)

        results[name] = {
            "forward_s": median_seconds(jax.jit(run), qkv),
            "forward_backward_s": median_seconds(jax.jit(jax.grad(loss)), qkv),
        }
    results["ratio"] = {
        key: results["matmul"][key] / results["unrolled"][key] for key in results["unrolled"]
    }
    print(to_json(results))


if __name__ == "__main__":
    main()
