"""Selection of circuits by scores: search from the logits, dead ends, ties and rounding."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interpbench_jax.discovery import METHODS, usual_selection
from interpbench_jax.model import Circuit, transformer_graph
from interpbench_jax.scoring import (
    SCORE_RESOLUTION,
    circuits_of_size,
    edge_average_precision,
    edge_rates,
    edge_roc,
    found_circuit,
    found_circuits,
    found_edges,
    node_average_precision,
    node_roc,
    share_auroc,
    staircase_auroc,
    without_dead_ends,
)
from interpbench_jax.scoring.greedy import greedy_places
from interpbench_jax.scoring.ties import expected_positives, n_best

GRAPH = transformer_graph(2, 2)


def circuit(*edges):
    pairs = [edge.split("->") for edge in edges]
    return Circuit(GRAPH, frozenset((writer, reader) for writer, reader in pairs))


def scores_of(by_edge):
    scores = np.zeros(GRAPH.valid.shape)
    for edge, score in by_edge.items():
        scores[circuit(edge).mask] = score
    return scores


TRUTH = circuit("input->m0", "m0->a1.h0<v>", "a1.h0->logits")
# As with information flow routes, the largest score into every reader is 1, important or not.
PER_READER = scores_of(
    {"input->a0.h0<q>": 1.0, "input->a0.h1<q>": 1.0, "input->a1.h1<k>": 1.0, "input->m1": 1.0}
    | {"input->m0": 0.9, "m0->a1.h0<v>": 0.8, "a1.h0->logits": 0.7, "m1->logits": 0.3}
)


def test_top_n_of_scores_per_reader_is_all_dead_ends():
    found = found_edges(PER_READER, TRUTH)
    assert (found.n_true, found.n_missed, found.n_false) == (0, 3, 0)
    assert np.isnan(found.precision) and found.recall == 0
    assert edge_roc(PER_READER, TRUTH).auroc < 1


def test_the_search_from_the_logits_finds_the_path():
    assert found_circuit(PER_READER, TRUTH, selection="greedy").head_edges == TRUTH.head_edges
    found = found_edges(PER_READER, TRUTH, selection="greedy")
    assert (found.n_true, found.n_missed, found.n_false, found.precision) == (3, 0, 0, 1)
    for score in (edge_roc, node_roc):
        assert score(PER_READER, TRUTH, selection="greedy").auroc == 1
    for average in (edge_average_precision, node_average_precision):
        assert average(PER_READER, TRUTH, selection="greedy") == 1
    assert edge_rates(PER_READER, TRUTH, selection="greedy").true_positive_rate[2] == 1
    assert share_auroc(PER_READER, TRUTH, selection="greedy") > share_auroc(PER_READER, TRUTH)


def test_the_trace_of_a_search():
    """One layer of one head: the step that takes each edge, counted down to the last."""
    graph = transformer_graph(1, 1)  # readers q, k, v, m0, logits; writers input, a0.h0, m0
    values = np.array([[5, 4, 4, 9, 1], [0, 0, 0, 2, 3], [0, 0, 0, 0, 6]], float)
    found = greedy_places(values, graph.valid, graph.reader_writer)
    # m0->logits 6, input->m0 9, a0.h0->logits 3, q 5, k and v together 4, a0.h0->m0 2, direct 1
    np.testing.assert_array_equal(found, [[4, 3, 3, 6, 1], [0, 0, 0, 2, 5], [0, 0, 0, 0, 7]])


def one_at_a_time(values, graph, n):
    """The published search, one edge per step, for distinct values."""
    chosen, reached = np.zeros(graph.valid.shape, bool), {graph.n_writers - 1}
    for _ in range(n):
        opened = np.isin(graph.reader_head_index, list(reached))[None] & graph.valid & ~chosen
        best = np.unravel_index(np.where(opened, values, -np.inf).argmax(), values.shape)
        chosen[best] = True
        reached.add(int(best[0]) - 1)
    return chosen


@pytest.mark.parametrize("n", [1, 7, 20, len(GRAPH.edges)])
def test_without_ties_the_search_is_the_published_one(n):
    values = np.random.default_rng(n).random(GRAPH.valid.shape)
    (found,) = circuits_of_size(values, GRAPH, n, selection="greedy").masks
    expected = without_dead_ends(one_at_a_time(values, GRAPH, n), GRAPH)
    np.testing.assert_array_equal(found, expected)


def test_dead_ends_by_hand():
    kept = circuit("input->m0", "m0->a1.h0<v>", "a1.h0->logits", "input->a1.h0<q>")
    no_way_in = circuit("a0.h0->m0", "a0.h0->a1.h1<k>", "a1.h1->logits")
    no_way_out = circuit("input->a0.h1<q>", "a0.h1->m1", "m0->m1")
    masks = np.stack([(kept | no_way_in | no_way_out).mask, no_way_in.mask, no_way_out.mask])
    left = [Circuit.from_mask(GRAPH, mask) for mask in without_dead_ends(masks, GRAPH)]
    assert [circuit.edges for circuit in left] == [kept.edges, frozenset(), frozenset()]


@given(st.lists(st.booleans(), min_size=len(GRAPH.edges), max_size=len(GRAPH.edges)))
def test_remaining_edges_lie_on_paths_through_the_circuit(kept):
    mask = np.zeros(GRAPH.valid.shape, bool)
    mask[GRAPH.valid] = kept
    left = Circuit.from_mask(GRAPH, without_dead_ends(mask, GRAPH))
    writers = {writer for writer, _ in left.head_edges}
    readers = {reader for _, reader in left.head_edges}
    assert writers - {"input"} == readers - {"logits"}
    again = without_dead_ends(left.mask, GRAPH)
    np.testing.assert_array_equal(again, left.mask)


def test_input_to_logits_is_not_counted():
    """However large its score, it is not evaluated and does not count toward the size."""
    scores = scores_of({"input->m0": 3, "m0->a1.h0<v>": 2, "a1.h0->logits": 1})
    huge = scores + 1e12 * circuit("input->logits").mask
    for how in ("top_n", "greedy"):
        for level in ("head", "qkv"):
            found = found_circuit(huge, TRUTH, level=level, selection=how)
            assert found.head_edges == TRUTH.head_edges, (how, level)
        assert found_edges(huge, TRUTH, selection=how).n_true == 3
        assert edge_roc(huge, TRUTH, selection=how).auroc == 1  # nor are others rounding


# Ties


@pytest.mark.parametrize("case", ["3", "13"])
def test_constant_scores_are_chance_at_the_shares_of_every_model(case):
    from interpbench_jax.zoo import load_model

    truth = load_model(case).circuit
    for level in ("head", "qkv"):
        flat = share_auroc(np.ones(truth.mask.shape), truth, level=level)
        assert flat == pytest.approx(0.5, abs=1e-12)


few_values = st.lists(st.integers(0, 2), min_size=2, max_size=6)


@given(few_values, st.data())
def test_expected_values_are_means_over_all_orders_of_equal_items(values, data):
    """Average precision and numbers of right items, compared with all orders."""
    truth = np.array(data.draw(st.lists(st.booleans(), min_size=6, max_size=6))[: len(values)])
    n = data.draw(st.integers(0, len(values) + 1))
    values = np.array(values, float)
    orders = [
        order
        for order in itertools.permutations(range(len(values)))
        if (np.diff(values[list(order)]) <= 0).all()
    ]
    right = np.mean([truth[list(order)][:n].sum() for order in orders])
    assert expected_positives(values, truth, n) == pytest.approx(right)
    marked = n_best(values, n, at_most=100)
    assert (marked.sum(1) == min(n, len(values))).all()
    assert marked[:, truth].sum(1).mean() == pytest.approx(right)
    assert len(np.unique(marked, axis=0)) == len(marked)


def test_choices_among_many_tied_items_are_drawn_equally_often():
    """Next to a better item, ten of thirty equal ones; one is worse."""
    marked = n_best(np.array([2.0, *[1.0] * 30, 0.0]), 11, at_most=3_000)
    assert marked.shape == (3_000, 32) and (marked.sum(1) == 11).all()
    best, *tied, worst = marked.mean(0)
    assert (best, worst) == (1, 0)
    np.testing.assert_allclose(tied, 1 / 3, atol=0.05)


@pytest.mark.parametrize(
    ("values", "true"),
    [([2, 1, 1, 1, 0], [1, 3]), ([1, 1, 1, 1, 1], [0, 4]), ([3, 3, 2, 2, 2], [1])],
)
def test_average_precision_is_the_mean_over_orders_of_equal_edges(values, true):
    """Five head-level edges of the smallest graph, in all orders that their scores allow."""
    graph = transformer_graph(1, 1)
    edges = [("input", "a0.h0<q>"), ("input", "m0"), ("a0.h0", "m0"), ("a0.h0", "logits")]
    edges.append(("m0", "logits"))
    scores = np.zeros(graph.valid.shape)
    for (writer, reader), value in zip(edges, values, strict=True):
        scores[graph.writer_index(writer), graph.reader_index(reader)] = value
    of_orders = []
    for order in itertools.permutations(range(5)):
        if (np.diff(np.array(values)[list(order)]) <= 0).all():
            hits = np.isin(order, true)
            of_orders.append((hits.cumsum() / np.arange(1, 6))[hits].mean())
    truth = Circuit(graph, frozenset(edges[place] for place in true))
    assert edge_average_precision(scores, truth) == pytest.approx(np.mean(of_orders))


def test_scores_do_not_depend_on_the_names_of_heads():
    """Heads are swapped in both scores and truth; many scores tie."""
    swapped = {"a0.h0": "a0.h1", "a0.h1": "a0.h0", "a1.h0": "a1.h1", "a1.h1": "a1.h0"}
    writers = [GRAPH.writer_index(swapped.get(name, name)) for name in GRAPH.writers]
    readers = []
    for name in GRAPH.readers:
        node, _, rest = name.partition("<")
        readers.append(GRAPH.reader_index("<".join([swapped.get(node, node), rest]).rstrip("<")))
    rng = np.random.default_rng(0)
    for _ in range(5):
        scores = rng.integers(0, 3, GRAPH.valid.shape) * 1.0
        truth = Circuit.from_mask(GRAPH, rng.random(GRAPH.valid.shape) < 0.2)
        other = (
            scores[writers][:, readers],
            Circuit.from_mask(GRAPH, truth.mask[writers][:, readers]),
        )
        for how in ("top_n", "greedy"):
            for score in (edge_average_precision, share_auroc):
                expected = score(scores, truth, selection=how)
                assert score(*other, selection=how) == pytest.approx(expected)
            expected = edge_roc(scores, truth, selection=how).auroc
            assert edge_roc(*other, selection=how).auroc == pytest.approx(expected)
            found = found_circuit(scores, truth, selection=how)
            again = found_circuit(*other, selection=how)
            np.testing.assert_array_equal(again.mask, found.mask[writers][:, readers])
            for original, renamed in zip(
                found_edges(scores, truth, selection=how)[:3],
                found_edges(*other, selection=how)[:3],
                strict=True,
            ):
                # 1,000 of many choices are drawn.
                assert original == pytest.approx(renamed, abs=0.05)


def test_numbers_of_a_found_circuit_whose_last_edges_tie():
    """Two edges tie for the last place: both lead to the logits, and one is right."""
    scores = scores_of({"input->m0": 3, "m0->a1.h0<v>": 2, "m0->logits": 1, "a1.h0->logits": 1})
    found = found_edges(scores, TRUTH)
    # With a1.h0->logits all three are right; with m0->logits, m0->a1.h0 is a dead end.
    assert (found.n_true, found.n_missed, found.n_false) == (2.0, 1.0, 0.5)
    assert (found.precision, found.recall) == (2 / 2.5, 2 / 3)
    assert found.tied == {("m0", "logits"), ("a1.h0", "logits")}
    assert found_circuit(scores, TRUTH).edges == frozenset()
    np.testing.assert_array_equal(found_circuits(scores, TRUTH).chances, [0.5, 0.5])


# Rounding


def test_rounding_is_not_a_signal():
    """An unobservable edge scores 5e-8, a missing one 0, the largest 34."""
    scores = scores_of({"input->m0": 34, "m0->a1.h0<v>": 5e-8, "a1.h0->logits": 19})
    tied = scores_of({"input->m0": 34, "a1.h0->logits": 19})
    for score in (edge_roc, node_roc):
        assert score(scores, TRUTH).auroc == score(tied, TRUTH).auroc
    for number in (edge_average_precision, share_auroc, staircase_auroc):
        assert number(scores, TRUTH) == number(tied, TRUTH)
    assert found_edges(scores, TRUTH) == found_edges(tied, TRUTH)
    just_above = scores_of(
        {"input->m0": 34, "m0->a1.h0<v>": 35 * SCORE_RESOLUTION, "a1.h0->logits": 19}
    )
    assert edge_roc(just_above, TRUTH).auroc == 1
    nodes = np.array([0, 1e-9, 0, 2.0, 1.0, 0, 0])  # a0.h0 is noise; m0 and a1.h0 are the circuit
    assert node_roc(nodes, TRUTH).auroc == 1
    assert len(edge_rates(nodes, TRUTH).threshold) == 3


def test_infinite_scores_do_not_make_others_rounding():
    """As of ACDC: infinite if no threshold removes the edge, else thresholds from 1e-5 to 10."""
    scores = scores_of({"input->m0": np.inf, "m0->a1.h0<v>": 10.0, "a1.h0->logits": 1e-5})
    assert edge_roc(scores, TRUTH).auroc == 1


# Selections by method


def test_methods_have_the_selection_of_their_paper():
    searched = {name for name in METHODS if usual_selection(name) == "greedy"}
    assert searched == {"eap_clean_corrupted", "eap_ig_inputs", "information_flow_routes"}
    assert usual_selection("mine:find") == "top_n"
