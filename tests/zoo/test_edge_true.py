"""Claims about the bundled models: their circuits are correct for edges, and can be found."""

import json

import jax
import numpy as np
import pytest

from interpbench_jax.alignment.edge_levels import qkv_level
from interpbench_jax.benchmark import make_contrast, run_methods
from interpbench_jax.benchmark.evaluate import edge_scores_of_model
from interpbench_jax.siit.edge_checks import edge_checks
from interpbench_jax.tasks.task import has_answer
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
    found = edge_scores_of_model(model, n_pairs=2_000, n_random=1_000, seed=11)
    assert metrics.keys() >= found.keys()
    missed = below_bar(metrics | found)
    assert (not missed) == (name in EDGE_TRUE), found
    if name in EDGE_TRUE:
        assert found["edge_agreement"] >= 0.999
    for mean in ("edge_agreement", "inert"):
        assert abs(metrics[mean] - found[mean]) < 0.01


@pytest.mark.parametrize("name", NAMES)
def test_single_edges_change_the_algorithm_s_answers_on_drawn_inputs(name: str) -> None:
    """Otherwise agreement says nothing: a model of task 113 once met the bar by copying."""
    model = load_model(name)
    task, alignment = model.task, model.alignment
    pairs = task.pairs(task.split(0.2), "train", 512, jax.random.key(0))
    level = qkv_level(alignment)
    inside = np.eye(len(level.names), dtype=bool)[level.inside]
    none = np.zeros((1, len(level.names)), bool)
    checks = edge_checks(task, alignment, pairs, level, np.concatenate([none, inside]))
    answers = np.asarray(checks.targets)[np.asarray(checks.which)]
    counted = np.logical_and(has_answer(answers), pairs.position_weights > 0)
    changed = np.logical_and(answers != answers[:1], counted)
    assert (changed.sum((1, 2)) / np.maximum(counted.sum((1, 2)), 1)).max() > 0.03


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
        assert edge_scores_of_model(model, n_pairs=300, n_random=100)["inert"] < bound
