"""The worked example in the README of `scoring/`, number by number."""

import numpy as np
import pytest

from interpbench_jax.model import Circuit, transformer_graph
from interpbench_jax.scoring import (
    PAPER_THRESHOLDS,
    circuits_of_size,
    edge_average_precision,
    edge_items,
    edge_rates,
    edge_roc,
    edge_scores_of_nodes,
    found_circuit,
    node_average_precision,
    node_items,
    node_roc,
    share_auroc,
    staircase_auroc,
)
from interpbench_jax.scoring.faithfulness import area

GRAPH = transformer_graph(1, 1)
TRUTH = Circuit(GRAPH, frozenset({("input", "a0.h0<q>"), ("a0.h0", "logits")}))
EMPTY = Circuit(GRAPH, frozenset())


def matrix(by_edge):
    scores = np.zeros(GRAPH.valid.shape)
    for edge, score in by_edge.items():
        writer, reader = edge.split("->")
        scores[GRAPH.writer_index(writer), GRAPH.reader_index(reader)] = score
    return scores


SCORES = matrix({"input->a0.h0<q>": -3, "input->m0": 2, "a0.h0->logits": 1, "input->logits": 9})


def test_items():
    values, positive = edge_items(SCORES, TRUTH)
    assert sorted(values, reverse=True) == [3, 2, 1, 0, 0]
    assert values[positive].tolist() == [3, 1]
    assert len(edge_items(SCORES, TRUTH, level="qkv").values) == 7


def test_ranking_auroc():
    assert edge_roc(SCORES, TRUTH).auroc == pytest.approx(5 / 6)
    assert edge_roc(SCORES, TRUTH, level="qkv").auroc == pytest.approx(9 / 10)
    assert node_roc(SCORES, TRUTH).auroc == 1.0


def test_average_precision():
    assert edge_average_precision(SCORES, TRUTH) == pytest.approx((1 / 1 + 2 / 3) / 2)
    # All tie: each rank is true with 2/5, and above a true one 1 of the 4 others is true.
    of_ranks = [(1 + above / 4) / (above + 1) for above in range(5)]
    assert edge_average_precision(0 * SCORES, TRUTH) == pytest.approx(np.mean(of_ranks))
    assert node_average_precision(SCORES, TRUTH) == 1.0
    assert np.isnan(edge_average_precision(SCORES, EMPTY))


def test_rates():
    found = edge_rates(SCORES, TRUTH)
    np.testing.assert_array_equal(found.threshold, [3, 2, 1, 0])
    np.testing.assert_array_equal(found.n_kept, [1, 2, 3, 5])
    np.testing.assert_allclose(found.true_positive_rate, [1 / 2, 1 / 2, 1, 1])
    np.testing.assert_allclose(found.false_positive_rate, [0, 1 / 3, 1 / 3, 1])
    np.testing.assert_allclose(found.precision, [1, 1 / 2, 2 / 3, 2 / 5])
    assert np.isnan(edge_rates(SCORES, EMPTY).true_positive_rate).all()


def test_staircase():
    """No threshold lies between 2 and 3, so the step at the top of the ranking is missed."""
    assert len(PAPER_THRESHOLDS) == 19
    assert (PAPER_THRESHOLDS[0], PAPER_THRESHOLDS[1]) == (0.0, pytest.approx(1e-5))
    assert PAPER_THRESHOLDS[-1] == pytest.approx(1e3)
    assert not any(2 <= t < 3 for t in PAPER_THRESHOLDS)
    assert staircase_auroc(SCORES, TRUTH) == pytest.approx(2 / 3)
    assert staircase_auroc(SCORES, TRUTH, thresholds=(0.0, 2.5, 1.5)) == pytest.approx(5 / 6)
    assert staircase_auroc(1e-7 * SCORES**2 + 1e-9, TRUTH) == 0  # as for EAP in the paper
    assert np.isnan(staircase_auroc(SCORES, EMPTY))


def test_pessimism():
    """All edges tie: the AUROC of the ranking is chance, that of the staircase is 0."""
    assert edge_roc(SCORES**0, TRUTH).auroc == 0.5
    assert staircase_auroc(SCORES**0, TRUTH) == 0


def test_auroc_at_shares():
    """Of 5 edges the shares take 0, 1, 2 and 5."""
    assert share_auroc(SCORES, TRUTH) == pytest.approx(1 / 3 * 1 / 2 + 2 / 3 * 3 / 4)
    assert np.isnan(share_auroc(SCORES, EMPTY))


def test_areas_of_faithfulness():
    """Faithfulness is 0 up to a share of .1, 1/2 at .2, and 1 from .5 on."""
    curve = np.array([0, 0, 0, 0, 0, 0, 0, 0.5, 1, 1])
    assert area(curve) == pytest.approx(0.1 * 0.25 + 0.3 * 0.75 + 0.5)  # CPR
    assert area(np.abs(1 - curve)) == pytest.approx(0.099 + 0.1 * 0.75 + 0.3 * 0.25)  # CMD
    better = np.full(10, 1.2)  # better than the model also counts as distance
    assert area(better) == pytest.approx(0.999 * 1.2)
    assert area(np.abs(1 - better)) == pytest.approx(0.999 * 0.2)


def edges_of(circuits):
    """Edges and probability of each circuit."""
    return {
        frozenset("->".join(edge) for edge in Circuit.from_mask(GRAPH, mask)): chance
        for mask, chance in zip(circuits.masks, circuits.chances, strict=True)
    }


def test_circuits_of_a_size():
    """The head and the MLP have no outgoing edges yet: one of three edges is left."""
    assert edges_of(circuits_of_size(SCORES, GRAPH, 3)) == {frozenset({"input->logits"}): 1.0}
    # a0.h0->logits too, and one of the four that score 0; a0.h0->m0 is dead, m0->logits revives m0.
    whole = {"input->logits", "input->a0.h0<q>", "a0.h0->logits"}
    found = edges_of(circuits_of_size(SCORES, GRAPH, 5))
    assert found == {
        frozenset(whole | {"input->a0.h0<k>"}): 1 / 4,
        frozenset(whole | {"input->a0.h0<v>"}): 1 / 4,
        frozenset(whole): 1 / 4,
        frozenset(whole | {"input->m0", "m0->logits"}): 1 / 4,
    }


def test_found_circuits():
    """As large as the true circuit, at the given level, minus dead ends."""
    assert found_circuit(SCORES, TRUTH).edges == frozenset()  # head and MLP are dead ends
    found = found_circuit(SCORES, TRUTH, selection="greedy")
    assert found.head_edges == {("input", "a0.h0"), ("a0.h0", "logits")}
    assert found.edges == {*(("input", f"a0.h0<{x}>") for x in "qkv"), ("a0.h0", "logits")}
    apart = found_circuit(SCORES, TRUTH, level="qkv", selection="greedy")
    assert apart.edges == {("input", "a0.h0<q>"), ("a0.h0", "logits")}
    assert found_circuit(SCORES, EMPTY).edges == frozenset()
    nodes = np.array([0.0, 3.0, 0.0])  # without the MLP, only input->a0.h0->logits is left
    assert found_circuit(nodes, TRUTH).head_edges == TRUTH.head_edges


def test_scores_of_nodes():
    """An edge gets the smaller score of its two ends; input and logits count as infinite."""
    nodes = np.array([0.0, -3.0, 2.0])  # input, a0.h0, m0
    edges = edge_scores_of_nodes(nodes, GRAPH)
    expected = matrix(
        {f"input->a0.h0<{x}>": 3 for x in "qkv"}
        | {"input->m0": 2, "a0.h0->m0": 2, "a0.h0->logits": 3, "m0->logits": 2}
        | {"input->logits": np.inf}
    )
    np.testing.assert_array_equal(edges, expected)
    assert edge_roc(nodes, TRUTH).auroc == edge_roc(edges, TRUTH).auroc == 1.0
    assert node_items(nodes, TRUTH).values.tolist() == [3, 2]
    assert node_roc(nodes, TRUTH).auroc == 1.0


def test_bad_scores_of_nodes_are_refused():
    for score in (edge_roc, node_roc):
        with pytest.raises(ValueError, match="scores of 4 nodes, expected 3"):
            score(np.zeros(4), TRUTH)
        with pytest.raises(ValueError, match=r"the score of m0 is NaN"):
            score(np.array([0, 0, np.nan]), TRUTH)
