"""Areas and curves computed by hand on the smallest graph, and by counting pairs on others.

One layer of one head has 8 edges: input to q, k, v, m0 and logits; a0.h0 to m0 and logits; m0 to
logits. Without input->logits, 7 count at q/k/v level and 5 at head level.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interpbench_jax.model import Circuit, transformer_graph
from interpbench_jax.scoring import edge_roc, node_roc

SMALL = transformer_graph(1, 1)
MEDIUM = transformer_graph(2, 1)
# At head level two edges are true and three are not.
TRUTH = Circuit(SMALL, frozenset({("input", "a0.h0<q>"), ("a0.h0", "logits")}))
INF = float("inf")


def scores_of(by_edge, elsewhere=0.0):
    """Scores from `{"writer->reader": score}`."""
    scores = np.full(SMALL.valid.shape, elsewhere)
    for edge, score in by_edge.items():
        writer, reader = edge.split("->")
        scores[SMALL.writer_index(writer), SMALL.reader_index(reader)] = score
    return scores


@pytest.mark.parametrize(
    ("by_edge", "auroc"),
    [
        ({"input->a0.h0<q>": 1, "a0.h0->logits": 2}, 1.0),
        ({"input->m0": 1, "a0.h0->m0": 2, "m0->logits": 3}, 0.0),
        ({}, 0.5),
        # True: 3 and 1; false: 2, 0, 0. Of six pairs only 1 < 2 is wrong.
        ({"input->a0.h0<q>": 3, "a0.h0->logits": 1, "input->m0": 2}, 5 / 6),
        # True: 2 and 0; false: 2, 1, 0. Wins 2>1, 2>0; ties 2=2, 0=0; losses 0<2, 0<1.
        ({"input->a0.h0<q>": 2, "input->m0": 2, "a0.h0->m0": 1}, 3 / 6),
        # Absolute values count.
        ({"input->a0.h0<q>": -3, "a0.h0->logits": -2, "input->m0": 1}, 1.0),
        # Infinity is larger than every number and ties with itself.
        ({"input->a0.h0<q>": INF, "a0.h0->logits": INF, "input->m0": 1e300}, 1.0),
        ({"input->a0.h0<q>": INF, "a0.h0->logits": 1, "input->m0": INF}, (0.5 + 2 + 2) / 6),
        ({"input->a0.h0<q>": -INF, "a0.h0->logits": 1}, 1.0),
    ],
)
def test_area_by_hand_at_head_level(by_edge, auroc):
    assert edge_roc(scores_of(by_edge), TRUTH).auroc == pytest.approx(auroc, abs=1e-12)


def test_q_k_v_are_merged_only_at_head_level():
    """The key has the score, the query is true: one edge at head level, two at q/k/v level.

    At q/k/v level the true ones score 0 and 5, the false ones 9, 0, 0, 0, 0: 0 ties four times,
    5 wins four times, both lose to 9, of ten pairs.
    """
    scores = scores_of({"input->a0.h0<k>": 9, "a0.h0->logits": 5})
    assert edge_roc(scores, TRUTH).auroc == 1.0
    assert edge_roc(scores, TRUTH, level="head").auroc == 1.0
    by_input = edge_roc(scores, TRUTH, level="qkv").auroc
    assert by_input == pytest.approx((4 * 0.5 + 4) / 10, abs=1e-12)


@pytest.mark.parametrize("level", ["head", "qkv"])
def test_input_to_logits_does_not_count(level):
    """Neither its score nor whether it is true matters."""
    others = {"input->a0.h0<q>": 3, "a0.h0->logits": 1, "input->m0": 2}
    with_it = Circuit(SMALL, TRUTH.edges | {("input", "logits")})
    found = [
        edge_roc(scores_of(others | {"input->logits": score}), truth, level=level)
        for score in (0.0, 9.0, INF)
        for truth in (TRUTH, with_it)
    ]
    # Only 1 < 2 is wrong, of 2 x 3 or 2 x 5 pairs.
    expected = 5 / 6 if level == "head" else 9 / 10
    np.testing.assert_allclose([roc.auroc for roc in found], expected, atol=1e-12)


def test_curve_by_hand():
    """Scores 3 true, 2 false, 1 true, 0 false, 0 false: right, wrong, right, both at once."""
    scores = scores_of({"input->a0.h0<q>": 3, "input->m0": 2, "a0.h0->logits": 1})
    roc = edge_roc(scores, TRUTH)
    points = list(zip(roc.false_positive_rate, roc.true_positive_rate, strict=True))
    expected = [(0, 0), (0, 1 / 2), (1 / 3, 1 / 2), (1 / 3, 1), (1, 1)]
    np.testing.assert_allclose(points, expected, atol=1e-12)


@pytest.mark.parametrize("level", ["head", "qkv"])
@pytest.mark.parametrize("everything", [True, False])
def test_no_area_without_both_kinds(level, everything):
    """All edges except input->logits are true, or none."""
    mask = SMALL.valid & everything
    mask[0, -1] = not everything
    roc = edge_roc(scores_of({"input->m0": 1}), Circuit.from_mask(SMALL, mask), level=level)
    assert np.isnan(roc.auroc)
    np.testing.assert_array_equal(roc.false_positive_rate, roc.true_positive_rate)


@pytest.mark.parametrize(
    ("by_edge", "auroc"),
    [
        # Each node has the largest score of an edge at either end: the head 2, the MLP 1.
        ({"input->a0.h0<v>": 2, "a0.h0->m0": 1, "m0->logits": 0.5}, 1.0),
        ({"input->a0.h0<v>": 2, "a0.h0->m0": 1, "m0->logits": 3}, 0.0),
        ({"input->a0.h0<v>": 1, "input->m0": -4}, 0.0),
        ({"a0.h0->logits": -2, "m0->logits": 1, "input->logits": 9}, 1.0),
        # The largest is an edge between the two.
        ({"input->a0.h0<q>": 1, "a0.h0->m0": 2, "m0->logits": 1}, 0.5),
        ({"input->a0.h0<q>": INF, "m0->logits": 1}, 1.0),
    ],
)
def test_node_area_by_hand(by_edge, auroc):
    """The head is in the circuit; the MLP is not."""
    assert node_roc(scores_of(by_edge), TRUTH).auroc == auroc


def test_node_curve_by_hand():
    """Two layers: a0.h0 and m1 are true and score 4 and 2; m0 scores 3, a1.h0 1."""
    truth = Circuit(MEDIUM, frozenset({("input", "a0.h0<v>"), ("a0.h0", "m1"), ("m1", "logits")}))
    scores = np.zeros(MEDIUM.valid.shape)
    for writer, reader, score in [
        ("input", "a0.h0<k>", 4),
        ("input", "m0", 3),
        ("m1", "logits", 2),
        ("input", "a1.h0<v>", 1),
    ]:
        scores[MEDIUM.writer_index(writer), MEDIUM.reader_index(reader)] = score
    roc = node_roc(scores, truth)
    assert roc.auroc == 3 / 4
    points = list(zip(roc.false_positive_rate, roc.true_positive_rate, strict=True))
    np.testing.assert_allclose(points, [(0, 0), (0, 0.5), (0.5, 0.5), (0.5, 1), (1, 1)])


def test_no_node_area_without_both_kinds():
    """No node is in the empty circuit; input and logits are not ranked."""
    for edges in [set(), {("input", "logits")}]:
        roc = node_roc(scores_of({"input->m0": 1}), Circuit(SMALL, frozenset(edges)))
        assert np.isnan(roc.auroc)


@pytest.mark.parametrize("off_the_graph", [-INF, INF, 7.0, np.nan])
def test_values_off_the_graph_do_not_count(off_the_graph):
    edges = Circuit.from_mask(SMALL, SMALL.valid).edges
    by_edge = {f"{writer}->{reader}": 0.0 for writer, reader in edges}
    by_edge |= {"input->a0.h0<q>": 3, "a0.h0->logits": 1, "input->m0": 2}
    scores = scores_of(by_edge, elsewhere=off_the_graph)
    assert edge_roc(scores, TRUTH).auroc == pytest.approx(5 / 6)
    assert edge_roc(scores, TRUTH, level="qkv").auroc == pytest.approx(9 / 10)
    assert node_roc(scores, TRUTH).auroc == 1.0


def by_counting_pairs(scores, truth, level):
    """The probability that a true edge is ranked above a false one, from the definition."""
    best: dict[tuple[str, str], float] = {}
    for w, r in truth.graph.edges:
        writer, reader = truth.graph.writers[w], truth.graph.readers[r]
        name = (writer, reader.split("<")[0] if level == "head" else reader)
        if name != ("input", "logits"):
            best[name] = max(best.get(name, 0.0), abs(scores[w, r]))
    wanted = truth.head_edges if level == "head" else truth.edges
    true = [score for name, score in best.items() if name in wanted]
    false = [score for name, score in best.items() if name not in wanted]
    wins = [(t > f) + (t == f) / 2 for t in true for f in false]
    return sum(wins) / len(wins) if wins else float("nan")


n_edges = len(MEDIUM.edges)
edge_scores = st.lists(st.sampled_from([-2.0, -1.0, 0.0, 0.5, 1.0, INF]), min_size=n_edges)
edge_truths = st.lists(st.booleans(), min_size=n_edges, max_size=n_edges)


@given(edge_scores, edge_truths, st.sampled_from(["head", "qkv"]))
def test_area_is_the_share_of_pairs_ranked_right(values, true, level):
    scores, mask = np.zeros(MEDIUM.valid.shape), np.zeros(MEDIUM.valid.shape, bool)
    scores[MEDIUM.valid], mask[MEDIUM.valid] = values[:n_edges], true
    truth = Circuit.from_mask(MEDIUM, mask)
    roc = edge_roc(scores, truth, level=level)
    expected = by_counting_pairs(scores, truth, level)
    np.testing.assert_allclose(roc.auroc, expected, atol=1e-12)
    if not np.isnan(expected):
        area = np.trapezoid(roc.true_positive_rate, roc.false_positive_rate)
        np.testing.assert_allclose(area, expected, atol=1e-12)
        assert (np.diff(roc.false_positive_rate) >= 0).all()


@pytest.mark.parametrize("score", [edge_roc, node_roc])
@pytest.mark.parametrize("edge", ["a0.h0->m0", "input->a0.h0<k>", "input->logits"])
def test_nan_is_refused_by_name(score, edge):
    with pytest.raises(ValueError, match=f"the score of {edge} is NaN"):
        score(scores_of({edge: np.nan}), TRUTH)


@pytest.mark.parametrize("score", [edge_roc, node_roc])
@pytest.mark.parametrize("shape", [(5, 3), (3, 4), (1, 5), (3, 1)])
def test_wrong_shape_is_refused(score, shape):
    with pytest.raises(ValueError, match=rf"shape \({shape[0]}, {shape[1]}\), expected \(3, 5\)"):
        score(np.zeros(shape), TRUTH)
