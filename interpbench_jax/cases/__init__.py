"""Cases: tasks whose algorithm is a RASP program."""

from interpbench_jax.cases.case import Case, Value
from interpbench_jax.cases.groups import PAPER, PUBLISHED
from interpbench_jax.cases.inputs import (
    PADDING,
    CaseInputs,
    all_sequences,
    n_sequences,
    sample_pairs,
    sample_sequences,
    sequences,
)
from interpbench_jax.cases.registry import case, case_names, get_case
from interpbench_jax.cases.samplers import Mixture

__all__ = [
    "PADDING",
    "PAPER",
    "PUBLISHED",
    "Case",
    "CaseInputs",
    "Mixture",
    "Value",
    "all_sequences",
    "case",
    "case_names",
    "get_case",
    "n_sequences",
    "sample_pairs",
    "sample_sequences",
    "sequences",
]
