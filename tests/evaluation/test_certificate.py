"""Certificates of networks whose answers under every set of patched edges are known."""

import itertools
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from interpbench_jax.alignment import Alignment, Site, align
from interpbench_jax.alignment.edge_levels import EdgeLevel, draw_sets, head_level, qkv_level
from interpbench_jax.compiler import compile_case
from interpbench_jax.evaluation import audit_circuit, certify, edge_judge, edge_scores
from interpbench_jax.evaluation.edge_judge import ROWS, Blocks, EdgeJudge, Judged
from interpbench_jax.evaluation.edge_scores import EdgeScores
from interpbench_jax.evaluation.necessity import _CHANGED
from interpbench_jax.evaluation.screening import screened
from interpbench_jax.model import Circuit, Graph, TransformerConfig
from interpbench_jax.model.network import Network
from interpbench_jax.model.wiring import Wires
from interpbench_jax.tasks import CausalModel, CausalTask, Pairs
from interpbench_jax.tasks.task import Answers, answers_differ

KEY = jax.random.key(0)
SHAPE = TransformerConfig(
    n_layers=1, n_heads=3, d_model=4, d_head=2, d_mlp=4, n_ctx=2, d_vocab=4, d_vocab_out=4
)
LABELS = np.arange(4)
EVERY_PAIR = np.array(list(itertools.product(LABELS, LABELS)))


@dataclass(frozen=True)
class Toy(Network):
    """Three nodes that read the token, and an output that reads all of them and the token.

    Each writes to a separate dimension, the token to the first.
    """

    nodes: tuple[str, str, str]

    @property
    def graph(self) -> Graph:
        return Graph(("input", *self.nodes), (*self.nodes, "logits"), (1, 1, 1, 4))

    def values(self, token):
        """Outputs of the nodes."""
        raise NotImplementedError

    def output(self, params, token, *values):
        """A value; the nearest label is the answer."""
        raise NotImplementedError

    @jax.numpy_rank_promotion("allow")
    def run(self, params, tokens, patch=None, nudge=None):
        wires, each = Wires(self.graph, patch, nudge), jnp.eye(4)
        wires.write(jnp.asarray(tokens)[:, :, None] * each[None, None, 0])
        seen = [wires.read(name)[:, :, 0] for name in self.nodes]
        for place, token in enumerate(seen):
            wires.write(self.values(token)[place][:, :, None] * each[None, None, place + 1])
        value = self.output(params, *jnp.moveaxis(wires.read("logits"), -1, 0))
        return -((value[:, :, None] - LABELS[None, None]) ** 2), wires.written()


class Digits(Toy):
    """The token, computed from its binary digits; `spare` has no effect if `leak` is 0."""

    def values(self, token):
        return token % 2, token // 2, token

    def output(self, params, token, low, high, spare):
        high = jnp.where(params["bypass"] > 0, token // 2, high)
        return low + 2 * high + params["leak"] * (spare - token)


class Counted(EdgeJudge):
    """A judge with given numbers of errors and answers of each set in each block."""

    def judge(self, level, blocks, sets, *, patched_at=None, n_runs=None) -> Judged:
        del level, patched_at
        n, n_blocks = len(sets), len(blocks.base)
        each = n_blocks if n_runs is None else min(n_runs // (n * ROWS), n_blocks)
        wrong, total = (
            self.params[part][sets.argmax(1), :each].sum(1) for part in ("errors", "answers")
        )
        return Judged(total - wrong, total, each, 0.0)


def counted(errors: np.ndarray, answers: np.ndarray) -> tuple[EdgeJudge, EdgeLevel, Blocks]:
    """A `Counted` judge, with units and blocks for it."""
    tokens = np.zeros((errors.shape[1] * ROWS, 1), int)
    blocks = Blocks.of(Pairs(tokens, tokens, np.ones(tokens.shape)))
    given = {"errors": errors, "answers": answers}
    judge = Counted(given, NETWORK, make_task(DIGITS).answers, np.zeros((0, 1, 1), bool))
    return judge, qkv_level(aligned(make_task(DIGITS), NETWORK)), blocks


class Majority(Toy):
    """Three nodes tell whether the token is odd; the output is their majority."""

    def values(self, token):
        return (token % 2,) * 3

    def output(self, params, token, *votes):
        return (sum(votes) > 1.5) * 1.0


class Sparse(CausalTask):
    """Has no answer for token 0."""

    @property
    def defined_answers(self) -> Answers:  # type: ignore[override]
        return _AnswersButZero(super().defined_answers)


class _AnswersButZero(struct.PyTreeNode):
    answers: Answers

    def __call__(self, base, source, masks):
        return jnp.where(jnp.asarray(base) == 0, -1, self.answers(base, source, masks))


DIGITS = CausalModel(
    variables={"low": lambda tokens: tokens % 2, "high": lambda tokens: tokens // 2},
    output=lambda low, high: low + 2 * high,
)
VOTES = CausalModel(
    variables={name: lambda tokens: tokens % 2 for name in "abc"},
    output=lambda a, b, c: (a + b + c > 1).astype(int),
)
NETWORK = Digits(("low", "high", "spare"))
UNHARMED = {"leak": jnp.array(0.0), "bypass": jnp.array(0.0)}


def draw(key, n):
    return jax.random.randint(key, (n, 1), 0, 4)


def make_task(model: CausalModel, kind: type[CausalTask] = CausalTask) -> CausalTask:
    nodes = {name: f"a0.h{place}" for place, name in enumerate(model.variables)}
    return kind(
        name="toy",
        title="a toy",
        model=model,
        network=SHAPE,
        nodes=nodes,
        draw=draw,
        position_weights=(1,),
    )


def aligned(task: CausalTask, network: Toy) -> Alignment:
    places = tuple((name, Site((name,))) for name in ("input", *task.model.variables))
    return Alignment(task.circuit, network, places)


def every_pair(copies: int = 1) -> Pairs:
    rows = np.repeat(EVERY_PAIR, copies, axis=0)
    return Pairs(rows[:, :1], rows[:, 1:], np.ones((len(rows), 1), np.float32))


def certified(params, task=None, network=NETWORK, copies=1, **knobs):
    task = make_task(DIGITS) if task is None else task
    knobs = {"n_random": 40, **knobs}
    pairs = every_pair(copies)
    return certify(params, network, task, aligned(task, network), pairs, KEY, **knobs)


def by_hand(patched: set[str], leak: float) -> float:
    """Agreement of `Digits` with its algorithm, over all pairs of tokens."""
    right = 0
    for base, source in EVERY_PAIR:
        read = {n: source if f"input->{n}" in patched else base for n in ("low", "high", "spare")}
        own = {"low": read["low"] % 2, "high": read["high"] // 2, "spare": read["spare"]}
        from_source = {"low": source % 2, "high": source // 2, "spare": source, "input": source}
        seen = {
            name: from_source[name] if f"{name}->logits" in patched else value
            for name, value in {**own, "input": base}.items()
        }
        answer = seen["low"] + 2 * seen["high"]
        right += (
            np.argmin((answer + leak * (seen["spare"] - seen["input"]) - LABELS) ** 2) == answer
        )
    return right / len(EVERY_PAIR)


def test_a_network_that_is_its_algorithm_agrees_under_every_set() -> None:
    found = certified(UNHARMED)
    assert (found.n_pairs, found.every_input, found.accuracy) == (16, False, 1)
    level = found.qkv
    assert level.names == (
        *("input->low", "input->high", "low->logits", "high->logits"),
        *("input->spare", "input->logits", "spare->logits"),
    )
    assert level.n_inside == 4
    for share in (level.inert, level.random_mean, level.worst, level.searched):
        assert share == 1
    for shares in (level.inside, level.outside, level.random, level.necessity):
        assert (shares == 1).all()
    assert level.unanswered == 0
    assert found.head.describe() == level.describe() | found.head.describe()
    assert found.positions is None and found.describe()["positions"] is None


def test_a_leak_is_found_by_single_edges_and_search_if_patching_all_outside_hides_it() -> None:
    """The leak is a difference of two values that are patched together."""
    leak = 0.4  # a difference of two or more tokens changes the label
    found = certified(UNHARMED | {"leak": jnp.array(leak)}).qkv
    assert found.inert == 1
    each = dict(zip(found.names, [*found.inside, *found.outside], strict=True))
    assert each == {name: by_hand({name}, leak) for name in found.names}
    assert each["spare->logits"] < 1
    subsets = itertools.product([False, True], repeat=len(found.names))
    least = min(by_hand(set(found.of_set(np.array(chosen))), leak) for chosen in subsets)
    assert found.searched == least == 0.625
    few = certified(UNHARMED | {"leak": jnp.array(leak)}, n_random=1).qkv
    assert few.searched == least < few.worst
    for share, chosen in ((found.worst, found.worst_set), (found.searched, found.searched_set)):
        assert share == by_hand(set(found.of_set(chosen)), leak)
    assert found.random_mean == pytest.approx(found.random.mean())
    assert found.worst == found.random.min()


def test_edges_that_the_network_does_not_need_are_reported() -> None:
    """If the network bypasses `high`, patching it never gives the changed answer."""
    found = certified(UNHARMED | {"bypass": jnp.array(1.0)}).qkv
    assert found.necessity.tolist() == [1, 0, 1, 0]
    assert found.inside[1] == found.inside[3] == 0.5  # half of the pairs differ in `high`


def test_edges_that_matter_only_together_are_needed_too() -> None:
    network = Majority(("a", "b", "c"))
    found = certified({}, make_task(VOTES), network).qkv
    assert (found.inside == 1).all() and (found.outside == 1).all()
    assert (found.necessity == 1).all()


def test_an_edge_that_changes_no_answer_has_no_necessity() -> None:
    still = CausalModel(
        variables={**DIGITS.variables, "spare": lambda tokens: 0 * tokens},
        output=lambda low, high, spare: low + 2 * high + spare,
    )
    found = certified(UNHARMED, make_task(still))
    needed = dict(zip(found.qkv.names[: found.qkv.n_inside], found.qkv.necessity, strict=True))
    assert {name for name, share in needed.items() if np.isnan(share)} == {
        *("input->spare", "spare->logits"),
    }
    assert found.describe()["qkv"]["necessity"]["input->spare"] is None


def test_nan_is_wrong() -> None:
    found = certified(UNHARMED | {"leak": jnp.array(jnp.nan)})
    for level in (found.qkv, found.head):
        assert level.inert == level.random_mean == level.worst == level.searched == 0
        assert not level.inside.any() and not level.outside.any() and not level.necessity.any()
    assert found.accuracy == 0


def test_positions_without_an_answer_do_not_count() -> None:
    """A network that is wrong only on token 0, for which there is no answer."""
    sparse = make_task(DIGITS, Sparse)
    found = certified(UNHARMED, sparse).qkv
    assert found.unanswered == 0.25
    assert found.inert == found.random_mean == found.searched == 1
    assert (found.necessity == 1).all()
    judge = EdgeJudge(UNHARMED, NETWORK, sparse.defined_answers, np.zeros((4, 3, 3), bool))
    level = qkv_level(aligned(sparse, NETWORK))
    of_zeros = Blocks.of(Pairs(*(part[:4] for part in every_pair())))
    nothing = judge.judge(level, of_zeros, np.zeros((1, 7), bool))
    assert nothing.total == 0 and np.isnan(nothing.agreement).all()


def test_the_worst_sets_of_a_sample_are_tested_again_on_all_pairs() -> None:
    """A block has copies of a few pairs only, on which sets look better or worse than they are."""
    params = UNHARMED | {"leak": jnp.array(1.0)}
    whole = certified(params, copies=40).qkv
    found = certified(params, copies=40, n_runs=1).qkv
    assert (whole.random_pairs, found.random_pairs, found.outside_pairs) == (640, 128, 128)
    assert not np.allclose(found.random, whole.random)
    where = found.random.argmin()
    assert found.worst == found.random[where] == whole.random[where] > 0
    assert found.inert == whole.inert


def test_a_set_that_looks_fair_on_few_pairs_gets_more() -> None:
    """On its first block, set 5 has fewer errors than nine others; on all 20 it has the most."""
    errors = np.zeros((40, 20))
    errors[20:29] = 2
    errors[5] = [1, *[4] * 19]
    answers = np.full(errors.shape, 256.0)
    found = screened(*counted(errors, answers), np.eye(40, dtype=bool), n_runs=40 * ROWS)
    assert found.agreement.argmin() == 5
    assert found.agreement[5] == 1 - errors[5].sum() / (256 * 20)
    assert found.mean == 1 - errors[:, 0].mean() / 256
    assert found.n_pairs == ROWS


def test_a_set_without_an_answer_on_few_pairs_gets_all() -> None:
    """Set 0 has answers in the last block only, and they are wrong."""
    total, errors = np.full((4, 8), 128.0), np.zeros((4, 8))
    total[0, :-1], errors[0, -1] = 0, 128
    found = screened(*counted(errors, total), np.eye(4, dtype=bool), n_runs=4 * ROWS)
    assert found.agreement.tolist() == [0, 1, 1, 1]


def test_pairs_with_rare_answers_are_patched_and_accuracy_is_of_all_pairs() -> None:
    """The algorithm has an answer for one pair in 40: by chance none would be patched."""
    rows = np.array(([(0, 1)] * 39 + [(3, 2)]) * 20)
    pairs = Pairs(rows[:, :1], rows[:, 1:], np.ones((len(rows), 1), np.float32))
    task = make_task(DIGITS, Sparse)
    given = UNHARMED, NETWORK, task, aligned(task, NETWORK), pairs, KEY
    found = certify(*given, n_random=10, n_pairs=32)
    assert (found.n_inputs, found.n_pairs) == (800, 32)
    assert found.qkv.unanswered == 30 / 32  # 2 of 32 pairs have an answer
    few = certify(*given[:4], Pairs(*(part[:32] for part in pairs)), KEY, n_random=10)
    assert few.qkv.unanswered == 1
    scores = edge_scores(*given, n_random=10, n_pairs=32)
    assert scores.inert == found.qkv.inert == 1


def test_the_scores_of_a_card_are_those_of_the_certificate() -> None:
    params, task = UNHARMED | {"leak": jnp.array(1.0)}, make_task(DIGITS)
    alignment = aligned(task, NETWORK)
    found = edge_scores(params, NETWORK, task, alignment, every_pair(), KEY, n_random=40)
    whole = certified(params).qkv
    assert found.inert == whole.inert
    assert found.edge_single_worst == min(whole.inside.min(), whole.outside.min())
    assert found.edge_agreement == pytest.approx(whole.random_mean)
    assert found.edge_agreement_worst == whole.worst
    alone = dict(zip(whole.names, [*whole.inside, *whole.outside], strict=True))
    wrong = sorted(share for share in alone.values() if share < 1)
    assert list(found.weakest.values()) == wrong[:5]
    assert found.weakest.items() <= alone.items()


def test_the_agreement_at_each_position_is_that_of_pairs_with_this_position_alone() -> None:
    params, task = UNHARMED | {"leak": jnp.array(1.0)}, make_task(DIGITS)
    # The second position has the same token in base and source in half of the pairs.
    base, source = np.repeat(every_pair().base, 2, 1), np.repeat(every_pair().source, 2, 1)
    source[::2, 1] = base[::2, 1]
    given = params, NETWORK, task, aligned(task, NETWORK)

    def scores(*weights: float) -> EdgeScores:
        positions = np.tile(np.array(weights, np.float32), (len(base), 1))
        return edge_scores(*given, Pairs(base, source, positions), KEY, n_random=1)

    both = scores(1, 1)
    edge = next(iter(both.weakest))
    alone = [scores(1, 0).weakest[edge], scores(0, 1).weakest[edge]]
    assert both.weakest_at.tolist() == alone and alone[0] < alone[1] < 1
    assert both.weakest[edge] == pytest.approx(np.mean(alone))
    unharmed = edge_scores(UNHARMED, *given[1:], every_pair(), KEY, n_random=1)
    assert not len(unharmed.weakest_at)


def test_values_that_hardly_differ_are_no_other_answer() -> None:
    """Within twice the tolerance one output could be right for both."""
    one, other = np.array([1.0, 1.0, np.nan]), np.array([1.09, 1.11, 2.0])
    assert answers_differ(one, other, _CHANGED).tolist() == [False, True, False]
    assert answers_differ(np.array([1, 2, -1]), np.array([1, 3, 2]), _CHANGED).tolist() == [
        False,
        True,
        False,
    ]


@pytest.mark.parametrize("at_once", [5, 1000])
def test_parallel_runs_change_no_certificate(run_in_parallel, at_once: int) -> None:
    """64 sets per call are not a multiple of 5; no call has 1000."""
    params = UNHARMED | {"leak": jnp.array(1.0)}
    usual = certified(params, n_random=70)
    run_in_parallel(edge_judge._run, at_once)
    parallel = certified(params, n_random=70)
    for found, expected in zip(jax.tree.leaves(parallel), jax.tree.leaves(usual), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_second_certificate_compiles_nothing() -> None:
    task = make_task(DIGITS)
    compiled_functions: Any = (edge_judge._run, edge_judge._answers_under)
    certified(UNHARMED, task)
    compiled = [function._cache_size() for function in compiled_functions]
    certified(UNHARMED | {"leak": jnp.array(0.5)}, task, copies=20, n_random=70)
    assert compiled == [function._cache_size() for function in compiled_functions]


@pytest.mark.parametrize("knob", ["n_random", "n_runs", "n_pairs"])
def test_numbers_below_one_are_refused(knob: str) -> None:
    with pytest.raises(ValueError, match=f"{knob} must be at least 1, got 0"):
        certified(UNHARMED, **{knob: 0})


def audited(params, *edges: str, categorical: bool = True):
    pairs = (edge.split("->") for edge in edges)
    circuit = Circuit(NETWORK.graph, frozenset((writer, reader) for writer, reader in pairs))
    found = audit_circuit(
        params, NETWORK, circuit, every_pair(), KEY, categorical=categorical, n_random=20
    )
    return found.qkv


def test_a_claimed_circuit_is_tested_against_the_model_itself() -> None:
    """The claim lacks `input->high`; patching it gives the source's high digit."""
    found = audited(UNHARMED, "input->low", "low->logits", "high->logits")
    assert found.n_inside == 0 and len(found.inside) == len(found.necessity) == 0
    each = dict(zip(found.names, found.outside, strict=True))
    assert each == {"input->high": 0.5, "input->spare": 1, "input->logits": 1, "spare->logits": 1}
    assert found.inert == found.worst == found.searched == 0.5
    everything = ("input->low", "input->high", "low->logits", "high->logits")
    assert audited(UNHARMED, *everything).searched == 1


@pytest.mark.parametrize("categorical", [True, False])
def test_a_claim_about_a_broken_model_is_never_right(categorical: bool) -> None:
    params = UNHARMED | {"leak": jnp.array(jnp.nan)}
    assert audited(params, "input->low", categorical=categorical).random_mean == 0


def test_claims_that_cannot_be_audited_are_refused() -> None:
    every = [
        f"{NETWORK.graph.writers[w]}->{NETWORK.graph.readers[r]}" for w, r in NETWORK.graph.edges
    ]
    with pytest.raises(ValueError, match="all edges of the model"):
        audited(UNHARMED, *every)
    other = Circuit(Graph.of(SHAPE), frozenset())
    with pytest.raises(ValueError, match="the circuit is for"):
        audit_circuit(UNHARMED, NETWORK, other, every_pair(), KEY, categorical=True)


def test_levels_of_a_transformer_written_out() -> None:
    alignment = align(compile_case("3"))
    apart, merged = qkv_level(alignment), head_level(alignment)
    assert apart.names[:5] == (
        *("input->m0", "input->a1.h2<q>", "input->a1.h2<k>", "m0->a1.h2<v>", "a1.h2->logits"),
    )
    assert apart.inside.tolist() == [True] * 5 + [False] * 105
    assert merged.names[:4] == ("input->m0", "input->a1.h2", "m0->a1.h2", "a1.h2->logits")
    assert merged.inside.sum() == 4 and len(merged.names) == alignment.graph.head_valid.sum()
    assert merged.groups[1].sum() == 2  # q and k; v of the same merged edge is outside the circuit
    graph = alignment.graph
    assert {graph.readers[r] for _, r in np.argwhere(merged.edges[1])} == {
        f"a1.h2<{kind}>" for kind in "qkv"
    }
    for level in (apart, merged):
        np.testing.assert_array_equal(level.edges.sum(0), graph.valid)


def test_merged_edges_that_share_a_group_are_one_unit() -> None:
    """A variable in two heads: edges into both are always patched together."""
    nodes = {"input": ("input",), "low": ("a0.h0", "a0.h1"), "high": ("m0",)}
    places = tuple((name, Site(of_variable)) for name, of_variable in nodes.items())
    merged = head_level(Alignment(DIGITS.circuit, SHAPE, places))
    inside = {name for name, own in zip(merged.names, merged.inside, strict=True) if own}
    assert inside == {
        *("input->a0.h0 + input->a0.h1", "input->m0"),
        *("a0.h0->logits + a0.h1->logits", "m0->logits"),
    }


def test_drawn_sets_have_separate_shares_inside_and_outside() -> None:
    level = qkv_level(align(compile_case("3")))
    sets = draw_sets(level, np.random.default_rng(0), 2_000)
    inside, outside = (sets[:, part].mean(1) for part in (level.inside, ~level.inside))
    for share in (inside, outside):
        assert 0.45 < share.mean() < 0.55
        assert (share < 0.1).mean() > 0.05 and (share > 0.9).mean() > 0.05
    assert abs(np.corrcoef(inside, outside)[0, 1]) < 0.1
