"""Claims about the bundled models: their circuits are correct for edges, and can be found."""

import json

import pytest

from interpbench_jax.benchmark import make_contrast, run_methods
from interpbench_jax.benchmark.verify import verify_edges_quickly
from interpbench_jax.zoo import bundled_names, load_model
from interpbench_jax.zoo.bar import below_bar
from interpbench_jax.zoo.store import BUNDLED

pytestmark = pytest.mark.slow
NAMES = bundled_names()
# Read without the weights, since every run of pytest collects these names.
CARDS = {name: json.loads((BUNDLED / name / "card.json").read_text()) for name in NAMES}
EDGE_TRUE = [name for name in NAMES if not below_bar(CARDS[name]["metrics"])]


@pytest.mark.parametrize("name", NAMES)
def test_cards_say_how_far_models_agree_with_their_algorithm(name: str) -> None:
    """Computed from the weights, on held-out sequences, with other sets than in the card."""
    model = load_model(name)
    metrics = model.card["metrics"]
    found = verify_edges_quickly(model, n_pairs=2_000, n_random=1_000, seed=11)
    assert metrics.keys() >= found.keys()
    assert (not below_bar(metrics | found)) == (name in EDGE_TRUE), found
    if name in EDGE_TRUE:
        assert found["edge_agreement"] >= 0.999
    for mean in ("edge_agreement", "inert"):
        assert abs(metrics[mean] - found[mean]) < 0.01


@pytest.mark.parametrize("name", EDGE_TRUE)
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
