"""Claims about the bundled models: their circuits are correct for edges, and can be found."""

import pytest

from interpbench_jax.benchmark import make_contrast, run_methods
from interpbench_jax.benchmark.verify import verify_edges_quickly
from interpbench_jax.zoo import bundled_names, load_model

pytestmark = pytest.mark.slow
EDGE_TRUE = pytest.mark.parametrize("name", bundled_names())


@EDGE_TRUE
def test_they_agree_with_their_algorithm_under_sets_of_patched_edges(name: str) -> None:
    """Computed from the weights, on held-out sequences, with other sets than in the card."""
    model = load_model(name)
    found = verify_edges_quickly(model, n_pairs=2_000, n_random=1_000, seed=11)
    assert found["edge_agreement_worst"] >= 0.99, found
    assert found["edge_agreement"] >= 0.999
    assert found["inert"] >= 0.995 and found["edge_single_worst"] >= 0.995
    metrics = model.card["metrics"]
    assert metrics.keys() >= found.keys()
    assert abs(metrics["edge_agreement"] - found["edge_agreement"]) < 1e-3


@EDGE_TRUE
def test_exact_patching_finds_every_observable_edge_before_any_other(name: str) -> None:
    model = load_model(name)
    (found,) = run_methods(model, ("edge_patching",), make_contrast(model, 3))
    assert (found.edge_auroc, found.edge_auroc_qkv) == (1, 1)


def test_models_trained_by_nodes_leak_at_edges() -> None:
    """Although their IIA and SIIA are 1."""
    for name, bound in (("siit/3", 0.9), ("siit/21", 0.8)):
        model = load_model(name)
        assert model.card["metrics"]["siia_worst"] > 0.999
        assert verify_edges_quickly(model, n_pairs=300, n_random=100)["inert"] < bound
