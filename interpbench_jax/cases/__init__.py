"""Tasks whose algorithm is known."""

from interpbench_jax.cases.case import Case, Value
from interpbench_jax.cases.groups import PAPER, PUBLISHED
from interpbench_jax.cases.inputs import (
    PADDING,
    all_sequences,
    distinct_pairs,
    n_sequences,
    sample_pairs,
    sample_sequences,
    sequences,
)
from interpbench_jax.cases.registry import case, case_names, get_case
from interpbench_jax.cases.samplers import Mixture
from interpbench_jax.cases.splits import HELD_OUT, Part, Split, pairs_per_part

__all__ = [
    "HELD_OUT",
    "PADDING",
    "PAPER",
    "PUBLISHED",
    "Case",
    "Mixture",
    "Part",
    "Split",
    "Value",
    "all_sequences",
    "case",
    "case_names",
    "distinct_pairs",
    "get_case",
    "n_sequences",
    "pairs_per_part",
    "sample_pairs",
    "sample_sequences",
    "sequences",
]
