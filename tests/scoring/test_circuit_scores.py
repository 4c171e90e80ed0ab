"""Faithfulness, completeness and minimality, by hand on made-up models and on a real one."""

import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest

from interpbench_jax.benchmark import make_contrast
from interpbench_jax.benchmark.measure import measure_circuit
from interpbench_jax.discovery import edge_masked_loss, usual_loss
from interpbench_jax.model import Circuit, Graph, TransformerConfig
from interpbench_jax.scoring import (
    SHARES,
    circuit_losses,
    edge_scores_of_nodes,
    faithfulness,
    faithfulness_curve,
    incompleteness,
    minimality,
    node_importance,
)
from interpbench_jax.zoo import BenchmarkModel, load_model

TINY = TransformerConfig(
    n_layers=1, n_heads=1, d_model=1, d_head=1, d_mlp=1, n_ctx=2, d_vocab=2, d_vocab_out=2
)
GRAPH = Graph.of(TINY)
KEY = jax.random.key(0)
# Weights, config, batch and loss.
Arguments = tuple[Any, TransformerConfig, Any, Any]
ModelThat = Callable[[Callable[[np.ndarray], float]], Arguments]
Case = tuple[BenchmarkModel, Arguments]


def circuit(*edges):
    mask = np.zeros(GRAPH.valid.shape, bool)
    for edge in edges:
        writer, reader = edge.split("->")
        mask[GRAPH.writer_index(writer), GRAPH.reader_index(reader)] = True
    return mask


ONE, OTHER, USELESS = circuit("input->m0"), circuit("a0.h0->logits"), circuit("m0->logits")


@pytest.fixture
def model_that(monkeypatch, no_shape_checks):
    """A made-up model: its performance as a function of the edges that are not patched."""

    def set_up(performance):
        monkeypatch.setattr(
            sys.modules[faithfulness.__module__],
            "circuit_losses",
            lambda *_: np.array([-performance(c) for c in _[-1]], float),
        )
        return None, TINY, None, None

    return set_up


def has(mask, edge):
    return bool((mask & edge).any())


def test_faithfulness_by_hand(model_that: ModelThat) -> None:
    """Performance is 5 with neither edge; one adds 3, the other 1: f = 3/4, 1/4, 1, 0."""
    model = model_that(lambda c: 5 + 3 * has(c, ONE) + has(c, OTHER))
    found = faithfulness(*model, np.stack([ONE, OTHER, ONE | OTHER, USELESS]))
    np.testing.assert_allclose(found, [0.75, 0.25, 1, 0])


def test_faithfulness_is_none_if_nothing_matters(model_that: ModelThat) -> None:
    assert np.isnan(faithfulness(*model_that(lambda c: 1), ONE[None])).all()


def test_two_ways_to_do_the_task(model_that: ModelThat) -> None:
    """Either edge suffices. One alone is faithful but incomplete; both are complete and minimal."""
    model = model_that(lambda c: has(c, ONE) or has(c, OTHER))
    assert faithfulness(*model, ONE[None]) == 1
    gaps = incompleteness(*model, ONE, KEY)
    assert gaps.worst == 1  # K is the circuit: without it, the model uses the other edge
    assert 0 < gaps.mean < 1
    assert incompleteness(*model, ONE | OTHER, KEY) == (0, 0)
    # In the whole circuit neither matters; each does if the other is patched.
    np.testing.assert_array_equal(minimality(*model, ONE | OTHER, KEY, n_subsets=0), [0, 0])
    np.testing.assert_array_equal(minimality(*model, ONE | OTHER, KEY, n_subsets=8), [1, 1])


def test_an_unnecessary_edge(model_that: ModelThat) -> None:
    model = model_that(lambda c: has(c, ONE) and has(c, OTHER))
    found = minimality(*model, ONE | OTHER | USELESS, KEY)
    np.testing.assert_array_equal(found, [1, 1, 0])  # in graph order: input, a0.h0, m0
    assert incompleteness(*model, ONE | OTHER | USELESS, KEY) == (0, 0)


def test_some_edges_of_a_circuit_can_be_tested(model_that: ModelThat) -> None:
    model = model_that(lambda c: has(c, ONE) and has(c, OTHER))
    two = {
        tuple(minimality(*model, ONE | OTHER | USELESS, jax.random.key(seed), n_edges=2))
        for seed in range(8)
    }
    assert two == {(1, 1), (1, 0)}  # of [1, 1, 0]
    with pytest.raises(ValueError, match="n_edges must be at least 1, got 0"):
        minimality(*model, ONE, KEY, n_edges=0)


def test_an_edge_that_harms_makes_a_difference(model_that: ModelThat) -> None:
    """The whole model has 2 - 1 = 1; f changes by 2 and by -1."""
    model = model_that(lambda c: 2 * has(c, ONE) - has(c, OTHER))
    np.testing.assert_allclose(minimality(*model, ONE | OTHER, KEY), [2, 1])


@pytest.mark.parametrize(
    ("found", "least", "superfluous"),
    [(ONE | OTHER | USELESS, 0.005, 1 / 3), (ONE | OTHER, 0.02, 0), (USELESS, 0.005, 1)],
)
def test_an_edge_below_a_hundredth_of_the_performance_is_superfluous(
    model_that: ModelThat, found: np.ndarray, least: float, superfluous: float
) -> None:
    """The three edges add 97.5 %, 2 % and 0.5 % of the performance."""
    model_that(lambda c: 0.975 * has(c, ONE) + 0.02 * has(c, OTHER) + 0.005 * has(c, USELESS))
    given = Circuit.from_mask(GRAPH, found)
    model: Any = SimpleNamespace(params=None, config=TINY, circuit=given)
    batch: Any = SimpleNamespace(categorical=False)
    row = measure_circuit(model, batch, given, KEY)
    assert row["minimality"] == pytest.approx(least)
    assert row["superfluous"] == pytest.approx(superfluous)


def graded(*edges):
    """Descending scores for the given edges, 0 elsewhere; the second is negative."""
    scores = sum((len(edges) - i) * circuit(edge) for i, edge in enumerate(edges))
    return scores * np.where(circuit(edges[1]), -1.0, 1.0)


DIRECT = circuit("input->logits")


def test_curve_by_hand(model_that: ModelThat) -> None:
    """Of 8 edges the shares take 0 (up to .1), 1, 4 and 8."""
    model = model_that(lambda c: 2.0 * has(c, DIRECT) + has(c, OTHER))
    scores = graded("input->logits", "a0.h0->logits", "input->a0.h0<q>", "m0->logits")
    curve = faithfulness_curve(*model, scores)
    np.testing.assert_allclose(curve.faithfulness, [0] * 7 + [2 / 3, 1, 1])
    assert curve.cpr == pytest.approx(0.1 * 1 / 3 + 0.3 * 5 / 6 + 0.5)
    assert curve.cmd == pytest.approx(0.099 + 0.1 * 2 / 3 + 0.3 * 1 / 6)


def test_signed_selection_leaves_harmful_edges_to_the_last(model_that: ModelThat) -> None:
    """a0.h0->logits has the second largest size, but is negative: it comes last."""
    model = model_that(lambda c: 2.0 * has(c, DIRECT) + has(c, OTHER))
    scores = graded("input->logits", "a0.h0->logits", "input->a0.h0<q>", "m0->logits")
    curve = faithfulness_curve(*model, scores, by="signed")
    np.testing.assert_allclose(curve.faithfulness, [0] * 7 + [2 / 3, 2 / 3, 1])
    nodes = np.array(
        [0.0, -3.0, 1.0]
    )  # a0.h0 is harmful, m0 useful; all circuits have input->logits
    # By size, 3 of the 4 edges of score 3 fit next to the direct one; one choice is a dead end.
    by_size = faithfulness_curve(*model, nodes).faithfulness
    assert by_size[8] == pytest.approx(3 / 4 + 1 / 4 * 2 / 3)
    signed = faithfulness_curve(*model, nodes, by="signed").faithfulness
    np.testing.assert_allclose(signed[7:], [2 / 3, 2 / 3, 1])


def test_dead_ends_do_nothing_for_a_circuit(model_that: ModelThat) -> None:
    """This model gains from an edge that is a dead end, as can happen under mean ablation."""
    model = model_that(lambda c: 2.0 * has(c, DIRECT) + has(c, OTHER))
    scores = graded("a0.h0->logits", "m0->logits", "a0.h0->m0", "input->logits")
    np.testing.assert_allclose(
        faithfulness_curve(*model, scores).faithfulness, [0] * 8 + [2 / 3, 1]
    )


def test_curve_where_all_edges_tie_is_the_mean_over_their_orders(model_that: ModelThat) -> None:
    """One of eight edges is the direct one; half of all choices of four contain it.

    Of the 70 choices of four, 16 are drawn; 6 of these contain it.
    """
    curve = faithfulness_curve(*model_that(lambda c: has(c, DIRECT)), np.ones(GRAPH.valid.shape))
    assert curve.faithfulness[7] == pytest.approx(1 / 8)
    assert curve.faithfulness[8] == pytest.approx(6 / 16)
    assert curve.cpr + curve.cmd == pytest.approx(0.999)


def test_distance_of_tied_circuits_is_not_that_of_their_mean(model_that: ModelThat) -> None:
    """f is 5 with only the direct edge and 0 with any other: mean 5/8, mean distance 11/8."""
    model = model_that(lambda c: 5 * has(c, DIRECT) if c.sum() < 8 else has(c, DIRECT))
    curve = faithfulness_curve(*model, np.ones(GRAPH.valid.shape))
    assert curve.faithfulness[7] == pytest.approx(5 / 8)
    assert curve.cmd > 0.099 + 0.1 * (1 + 11 / 8) / 2 + 0.3 * 11 / 8 / 2


@pytest.mark.parametrize(
    ("empty", "whole", "defined"),
    [
        *((1.0, 0.5, True), (1.0, 0.985, True), (1.0, 0.995, False), (1.0, 1.0, False)),
        *((1.0, 3.0, False), (0, 0, False)),
    ],
)
def test_faithfulness_needs_a_difference_in_performance(
    model_that: ModelThat, empty: float, whole: float, defined: bool
) -> None:
    """A difference below 1 %, or a loss that falls if all edges are patched, is not enough."""
    model = model_that(lambda c: -whole if c.all() else -empty)
    assert np.isfinite(faithfulness(*model, ONE[None])).all() == defined


def test_node_importance_by_hand(model_that: ModelThat) -> None:
    model = model_that(lambda c: 3 * has(c, ONE) + has(c, OTHER))
    np.testing.assert_allclose(node_importance(*model), [0.75, 0.25, 0])  # input, a0.h0, m0


@pytest.mark.parametrize(("score", "bad"), [(incompleteness, 0), (minimality, -1)])
def test_bad_numbers_of_subsets_are_refused(model_that, score, bad):
    with pytest.raises(ValueError, match=f"n_subsets must .*, got {bad}"):
        score(*model_that(lambda c: 1), ONE, KEY, n_subsets=bad)


@pytest.fixture(scope="module")
def case_3():
    model = load_model("3")
    batch = make_contrast(model, KEY, n_inputs=50)
    return model, (model.params, model.config, batch, usual_loss("eap", False))


def test_losses_are_those_of_the_patched_model(case_3: Case) -> None:
    """With more circuits than fit in one call, some of them repeated."""
    model, arguments = case_3
    drawn = np.random.default_rng(0).random((70, *model.graph.valid.shape)) < 0.9
    circuits = np.concatenate([drawn, drawn[:3]])
    found = circuit_losses(*arguments, circuits)
    np.testing.assert_array_equal(found[:3], found[-3:])
    masked_loss = jax.jit(edge_masked_loss(*arguments))
    for place in (0, 1, 64, 69):
        expected = masked_loss((~circuits[place]).astype("float32"))
        np.testing.assert_allclose(found[place], expected, atol=1e-5)


def test_case_3_depends_only_on_its_circuit(case_3: Case) -> None:
    model, arguments = case_3
    truth = model.circuit.mask
    assert faithfulness(*arguments, truth[None]) == pytest.approx(1, abs=0.15)
    gaps = incompleteness(*arguments, truth, KEY)
    assert gaps.worst < 0.1
    importance = dict(zip(model.graph.writers, node_importance(*arguments), strict=True))
    for node in model.graph.writers[1:]:
        assert (importance[node] > 0.1) == (node in model.circuit.nodes), node


def test_a_perfect_ranking_has_a_faithful_curve(case_3: Case) -> None:
    model, arguments = case_3
    curve = faithfulness_curve(*arguments, model.circuit.mask.astype(float))
    at = dict(zip(SHARES, curve.faithfulness, strict=True))
    assert at[0.001] == 0
    assert at[0.2] == pytest.approx(1, abs=0.15)
    assert at[1.0] == 1
    worst = faithfulness_curve(*arguments, (~model.circuit.mask).astype(float))
    assert curve.cpr > worst.cpr + 0.3
    assert curve.cmd < worst.cmd - 0.3
    by_node = np.array([node in model.circuit.nodes for node in model.graph.writers], float)
    of_nodes = faithfulness_curve(*arguments, by_node)
    of_edges = faithfulness_curve(*arguments, edge_scores_of_nodes(by_node, model.graph))
    assert of_nodes.cpr == of_edges.cpr


def test_masks_of_other_types_are_masks_too(case_3: Case, no_shape_checks: None) -> None:
    model, arguments = case_3
    mask = model.circuit.mask[None]
    expected = circuit_losses(*arguments, mask)
    for kind in (int, float):
        np.testing.assert_array_equal(circuit_losses(*arguments, mask.astype(kind)), expected)
