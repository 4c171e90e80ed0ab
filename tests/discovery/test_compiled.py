"""Methods on compiled models, whose circuits are known exactly."""

import jax
import numpy as np
import pytest

from interpbench_jax.benchmark import make_contrast, run_methods
from interpbench_jax.benchmark.execution import compiled_model
from interpbench_jax.compiler import compile_case
from interpbench_jax.evaluation import edge_effects
from interpbench_jax.model import Circuit
from interpbench_jax.scoring import found_circuit


@pytest.mark.slow
@pytest.mark.parametrize("case", ["57", "62"])
def test_every_used_edge_is_found(case):
    """Edges of the circuit are used if patching them alone changes an answer."""
    model = compiled_model(case)
    batch = make_contrast(model, jax.random.key(0), n_inputs=200)
    edges = np.argwhere(model.circuit.mask)
    assert batch.corrupted is not None
    effects = edge_effects(
        *(model.params, model.config, batch.clean, batch.corrupted, edges),
        categorical=compile_case(case).categorical,
    )
    mask = np.zeros_like(model.circuit.mask)
    mask[tuple(edges[np.asarray(effects) > 0].T)] = True
    used = Circuit.from_mask(model.graph, mask)
    assert len(used) > 1
    for finding in run_methods(model, ("edge_patching", "acdc"), batch):
        found = found_circuit(finding.scores, used, level="qkv")
        assert not used - found, finding.method
