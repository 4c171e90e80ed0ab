"""Cases times methods: run them, score them, show them."""

from interpbench_jax.benchmark.draw import draw_comparison
from interpbench_jax.benchmark.run import (
    Finding,
    found_circuit,
    make_contrast,
    run_methods,
    write_findings,
)
from interpbench_jax.benchmark.verify import Verification, verify_model

__all__ = [
    "Finding",
    "Verification",
    "draw_comparison",
    "found_circuit",
    "make_contrast",
    "run_methods",
    "verify_model",
    "write_findings",
]
