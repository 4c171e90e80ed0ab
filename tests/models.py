"""Small models for tests, made without training."""

from typing import Any

import jax
import numpy as np

from interpbench_jax.alignment import align
from interpbench_jax.compiler import compile_case
from interpbench_jax.model import init_params
from interpbench_jax.zoo import BenchmarkModel
from interpbench_jax.zoo.make import assemble_model

CARD: dict[str, Any] = {"case": "3", "title": "running fraction", "metrics": {"accuracy": 0.25}}


def untrained_model(case: str = "3") -> BenchmarkModel:
    """A model of a case with its initial weights."""
    compiled = compile_case(case)
    alignment = align(compiled)
    params = jax.tree.map(np.asarray, init_params(alignment.network, jax.random.key(0)))
    return assemble_model(compiled, alignment, params, CARD)
