"""The experiments of the InterpBench paper on our models, compared with the published numbers.

Every experiment is a function that returns plain rows; `write_page` compares them with the
published numbers. Source: Gupta et al. 2024, InterpBench, https://arxiv.org/abs/2407.14494.
"""

from interpbench_jax.benchmark.paper.auroc import METHODS, auroc_rows, auroc_statistics
from interpbench_jax.benchmark.paper.effects import effect_rows
from interpbench_jax.benchmark.paper.page import write_page
from interpbench_jax.benchmark.paper.published import published
from interpbench_jax.benchmark.paper.realism import realism_rows
from interpbench_jax.benchmark.paper.sweep import sweep_rows
from interpbench_jax.benchmark.paper.weights import weight_divergences

__all__ = [
    "METHODS",
    "auroc_rows",
    "auroc_statistics",
    "effect_rows",
    "published",
    "realism_rows",
    "sweep_rows",
    "weight_divergences",
    "write_page",
]
