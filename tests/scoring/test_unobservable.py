"""Unobservable edges of the circuit count neither as right nor as wrong; by hand.

One layer of one head has 8 edges: input to q, k, v, m0 and logits; a0.h0 to m0 and logits; m0 to
logits; all except input->logits are scored.
"""

import numpy as np
import pytest
from jaxtyping import Float

from interpbench_jax.model import Circuit, transformer_graph
from interpbench_jax.scoring import (
    edge_average_precision,
    edge_items,
    edge_rates,
    edge_roc,
    found_circuit,
    found_circuits,
    found_edges,
    node_average_precision,
    node_items,
    node_roc,
    share_auroc,
    staircase_auroc,
)

GRAPH = transformer_graph(1, 1)
QUERY = ("input", "a0.h0<q>")
# At head level the head's merged edge is true, because of its value edge.
BY_VALUE = Circuit(
    GRAPH, frozenset({QUERY, ("input", "a0.h0<v>"), ("a0.h0", "logits")}), frozenset({QUERY})
)
# At head level the head's merged edge is left out; a0.h0->m0 is the only false edge.
LEFT_OUT = Circuit(
    GRAPH,
    frozenset({QUERY, ("a0.h0", "logits"), ("input", "m0"), ("m0", "logits")}),
    frozenset({QUERY}),
)


def matrix(by_edge: dict[str, float]) -> Float[np.ndarray, "writer reader"]:
    scores = np.zeros(GRAPH.valid.shape)
    for edge, score in by_edge.items():
        writer, reader = edge.split("->")
        scores[GRAPH.writer_index(writer), GRAPH.reader_index(reader)] = score
    return scores


SCORES = matrix(
    {
        **{"input->a0.h0<q>": 3, "input->a0.h0<k>": 2.5, "input->a0.h0<v>": 1},
        **{"a0.h0->logits": 2, "input->m0": 1.5},
    }
)


def names(circuit: Circuit) -> set[str]:
    return {"->".join(edge) for edge in circuit}


def test_with_q_k_v_separate() -> None:
    """Without q, true: 2, 1; false: 2.5, 1.5, 0, 0."""
    values, positive = edge_items(SCORES, BY_VALUE, level="qkv")
    assert sorted(values[positive]) == [1, 2]
    assert sorted(values[~positive]) == [0, 0, 1.5, 2.5]
    assert edge_roc(SCORES, BY_VALUE, level="qkv").auroc == pytest.approx(5 / 8)
    counted = Circuit(GRAPH, BY_VALUE.edges)
    assert edge_roc(SCORES, counted, level="qkv").auroc == pytest.approx(9 / 12)
    assert edge_roc(SCORES, BY_VALUE.observable, level="qkv").auroc == pytest.approx(5 / 10)
    # At ranks 2 and 4.
    precision = edge_average_precision(SCORES, BY_VALUE, level="qkv")
    assert precision == pytest.approx((1 / 2 + 2 / 4) / 2)
    found = edge_rates(SCORES, BY_VALUE, level="qkv")
    np.testing.assert_array_equal(found.threshold, [2.5, 2, 1.5, 1, 0])
    np.testing.assert_array_equal(found.n_kept, [1, 2, 3, 4, 6])
    np.testing.assert_allclose(found.true_positive_rate, [0, 1 / 2, 1 / 2, 1, 1])
    # (FPR, TPR): (1/4, 0), (1/4, 1/2), (1/2, 1/2), (1/2, 1).
    area = staircase_auroc(SCORES, BY_VALUE, level="qkv", thresholds=(0.0, 1.2, 1.7, 2.2))
    assert area == pytest.approx(1 / 4 * 1 / 2 + 1 / 2)
    # Of 6 edges 1, 3 and all: (FPR, TPR) = (1/4, 0), (1/2, 1/2), (1, 1).
    share = share_auroc(SCORES, BY_VALUE, level="qkv")
    assert share == pytest.approx(1 / 4 * 1 / 4 + 1 / 2 * 3 / 4)


def test_the_score_of_an_unobservable_edge_changes_nothing() -> None:
    others = [SCORES + matrix({"input->a0.h0<q>": change}) for change in (-3, -1.5, 5)]
    for score in (edge_average_precision, staircase_auroc, share_auroc):
        values = {score(scores, BY_VALUE, level="qkv") for scores in (SCORES, *others)}
        assert len(values) == 1
    values = {edge_roc(scores, BY_VALUE, level="qkv").auroc for scores in (SCORES, *others)}
    assert len(values) == 1


def test_a_merged_edge_is_true_by_one_observable_edge() -> None:
    """All five edges count; true: 3, 2; false: 1.5, 0, 0."""
    values, positive = edge_items(SCORES, BY_VALUE)
    assert sorted(values[positive]) == [2, 3]
    assert sorted(values[~positive]) == [0, 0, 1.5]
    assert edge_roc(SCORES, BY_VALUE).auroc == 1


def test_a_merged_edge_of_unobservable_ones_is_left_out() -> None:
    """But k and v, which are not in the circuit, are false at q/k/v level."""
    values, positive = edge_items(SCORES, LEFT_OUT)
    assert sorted(values[positive]) == [0, 1.5, 2]
    assert values[~positive].tolist() == [0]
    assert edge_roc(SCORES, LEFT_OUT).auroc == pytest.approx((1 + 1 + 1 / 2) / 3)
    values, positive = edge_items(SCORES, LEFT_OUT, level="qkv")
    assert sorted(values[~positive]) == [0, 1, 2.5]


def test_an_unobservable_edge_is_added_to_the_found_circuit() -> None:
    """It does not count: k and the edge to the logits are the two edges, and q ranks above both."""
    (mask,), (chance,) = found_circuits(SCORES, BY_VALUE, level="qkv")
    assert chance == 1
    found = {"input->a0.h0<q>", "input->a0.h0<k>", "a0.h0->logits"}
    assert names(Circuit.from_mask(GRAPH, mask)) == found
    assert names(found_circuit(SCORES, BY_VALUE, level="qkv")) == found
    lower = SCORES - matrix({"input->a0.h0<q>": 1.5})
    assert names(found_circuit(lower, BY_VALUE, level="qkv")) == found - {"input->a0.h0<q>"}
    as_low_as_the_last = SCORES - matrix({"input->a0.h0<q>": 1})
    assert names(found_circuit(as_low_as_the_last, BY_VALUE, level="qkv")) == found


def test_found_edges_at_head_level() -> None:
    """Of three true ones, m0->logits and input->m0 are found, and a0.h0->m0 by mistake."""
    scores = matrix(
        {
            **{"input->a0.h0<q>": 9, "a0.h0->m0": 3, "m0->logits": 2},
            **{"input->m0": 1, "a0.h0->logits": 0.5},
        }
    )
    found = found_edges(scores, LEFT_OUT)
    assert (found.n_true, found.n_missed, found.n_false) == (2, 1, 1)
    assert (found.precision, found.recall) == (2 / 3, 2 / 3)
    circuit = found_circuit(scores, LEFT_OUT)
    assert circuit.head_edges == {
        *(("input", "a0.h0"), ("a0.h0", "m0")),
        *(("input", "m0"), ("m0", "logits")),
    }
    # Ranked below them, it is not added: without edges into the head, its edge is dead.
    found = found_edges(scores - matrix({"input->a0.h0<q>": 8.5}), LEFT_OUT)
    assert (found.n_true, found.n_missed, found.n_false) == (2, 1, 0)


def test_a_search_goes_through_unobservable_edges() -> None:
    """It takes a0.h0->logits, then q, then k; q does not count toward the two edges."""
    found = found_circuit(SCORES, BY_VALUE, level="qkv", selection="greedy")
    assert names(found) == {"a0.h0->logits", "input->a0.h0<q>", "input->a0.h0<k>"}
    # a0.h0->logits and v (true) and k (false, before v) are ranked; others are not reached.
    values, positive = edge_items(SCORES, BY_VALUE, level="qkv", selection="greedy")
    assert edge_roc(SCORES, BY_VALUE, level="qkv", selection="greedy").auroc == 7 / 8
    assert len(values) == 6


def test_a_node_is_left_out_if_all_its_edges_are() -> None:
    graph = transformer_graph(1, 2)
    edges = {("input", "a0.h0<q>"), ("a0.h0", "m0"), ("input", "m0"), ("m0", "logits")}
    some = Circuit(graph, frozenset(edges), frozenset({("input", "a0.h0<q>")}))
    all_ = Circuit(graph, frozenset(edges), frozenset({("input", "a0.h0<q>"), ("a0.h0", "m0")}))
    nodes = np.array([0.0, 1.0, 2.0, 3.0])  # input, a0.h0, a0.h1, m0
    assert node_items(nodes, some).positive.tolist() == [True, False, True]
    assert node_roc(nodes, some).auroc == 1 / 2
    assert node_items(nodes, all_).values.tolist() == [2, 3]
    assert node_items(nodes, all_).positive.tolist() == [False, True]
    assert node_roc(nodes, all_).auroc == node_average_precision(nodes, all_) == 1


def test_a_circuit_of_only_unobservable_edges_has_nothing_to_find() -> None:
    nothing = Circuit(GRAPH, BY_VALUE.edges, BY_VALUE.edges)
    assert np.isnan(edge_roc(SCORES, nothing).auroc)
    assert np.isnan(edge_average_precision(SCORES, nothing))
    assert found_circuit(SCORES, nothing).edges == frozenset()
    assert np.isnan(found_edges(SCORES, nothing).recall)
