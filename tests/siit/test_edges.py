"""Edge-true training: drawn sets, the algorithm's answers, and trained models."""

import dataclasses
import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from interpbench_jax.alignment import align, place
from interpbench_jax.alignment.alignment import group_masks
from interpbench_jax.compiler import compile_case
from interpbench_jax.model import EdgePatch, TransformerConfig, init_params
from interpbench_jax.model.network import as_network
from interpbench_jax.siit import (
    Member,
    SiitConfig,
    draw_edge_batch,
    draw_edge_sets,
    edge_agreement,
    edge_losses,
    init_states,
    members,
    preset,
    task_loss,
    train_siit,
    train_together,
    usual_checks,
)
from interpbench_jax.siit import train as loop
from interpbench_jax.siit.edge_batch import EdgeBatch, RowsAgain, batch_of, draw_rows
from interpbench_jax.siit.edge_sets import by_errors, draw_outside, focus_on_wrong, sets_of_groups
from interpbench_jax.siit.problem import problem_of_pairs
from interpbench_jax.siit.survey import wrong_by_row, wrong_by_set
from interpbench_jax.siit.train import worst_that_counts
from interpbench_jax.siit.validation import scores_and_finiteness
from interpbench_jax.tasks import CausalModel, CausalTask, Pairs
from interpbench_jax.tasks.task import has_answer

MODEL = TransformerConfig(
    n_layers=2,
    n_heads=2,
    d_model=8,
    d_head=4,
    d_mlp=16,
    n_ctx=3,
    d_vocab=4,
    d_vocab_out=2,
    init_std=0.3,
)
PARITY = CausalTask(
    name="parity-of-ends",
    title="whether the sum of the first and the last token is odd",
    model=CausalModel(
        variables={
            "first": lambda tokens: tokens[0] % 2,
            "last": lambda tokens: tokens[-1] % 2,
            "parity": lambda first, last: (first + last) % 2,
        },
        output=lambda parity: parity,
    ),
    network=MODEL,
    nodes={"first": "a0.h0", "last": "a0.h1", "parity": "m0"},
    draw=lambda key, n: jax.random.randint(key, (n, 3), 0, 4),
    position_weights=(0, 0, 1),
)
ALIGNMENT = align(PARITY)
N_GROUPS = 5  # input->first, input->last, first->parity, last->parity, parity->output
OUTSIDE_WRITERS = ALIGNMENT.outside.any(1).sum()
CONFIG = SiitConfig(
    patches="edges",
    max_batches=40,
    round_batches=20,
    batch_size=16,
    edge_rows=512,
    checked_sets=10,
    checked_pairs=20,
    validation_pairs=20,
)


KINDS: dict[str, Any] = {"outside_rows": 0.25, "single_rows": 0.4}


def some_pairs(n: int = 60, seed: int = 0) -> Pairs:
    base, source = np.asarray(jax.random.randint(jax.random.key(seed), (2, n, 3), 0, 4), np.int32)
    return Pairs(base, source, PARITY.position_weights_of(base))


@functools.cache
def problem(seed: int = 0):
    pairs = some_pairs(seed=seed)
    return problem_of_pairs(PARITY, ALIGNMENT, pairs)._replace(
        edges=draw_edge_sets(PARITY, ALIGNMENT, pairs, jax.random.key(1), n_rows=512, **KINDS),
        checks=usual_checks(
            PARITY, ALIGNMENT, Pairs(*(x[:20] for x in pairs)), jax.random.key(2), n_random=10
        ),
    )


def test_with_few_groups_all_sets_are_listed_none_first_then_each_alone() -> None:
    sets = sets_of_groups(ALIGNMENT, 1_024, np.random.default_rng(0))
    assert sets.shape == (2**N_GROUPS, N_GROUPS) == np.unique(sets, axis=0).shape
    assert not sets[0].any()
    np.testing.assert_array_equal(sets[1 : N_GROUPS + 1], np.eye(N_GROUPS, dtype=bool))


def test_of_many_groups_half_of_the_sets_are_drawn_by_writers() -> None:
    drawn = [sets_of_groups(ALIGNMENT, 20, np.random.default_rng(seed)) for seed in range(100)]
    assert all(len(sets) == 20 and sets[N_GROUPS + 1].all() for sets in drawn)
    groups = [next(iter(own)) for own, _ in ALIGNMENT.groups]
    of_input = np.array([writer == "input" for writer, _ in groups])
    chosen = np.concatenate([sets[N_GROUPS + 2 :, of_input] for sets in drawn])
    together = (chosen.all(1) | ~chosen.any(1)).mean()
    # Singly, k groups are all in or all out with probability 2 / (k + 1), over all shares.
    assert together == pytest.approx(0.5 + 1 / (of_input.sum() + 1), abs=0.06)


def test_targets_are_the_algorithm_under_the_same_patch() -> None:
    """Computed by hand: the parity with each token from the base or the source."""
    sets = draw_edge_sets(PARITY, ALIGNMENT, some_pairs(), jax.random.key(1), n_rows=512, **KINDS)
    names = [next(iter(own)) for own, _ in ALIGNMENT.groups]
    groups = sets_of_groups(ALIGNMENT, 1_024, np.random.default_rng(0))
    set_of_row = np.repeat(np.arange(len(groups)), np.asarray(sets.n_rows))
    assert len(sets.base) == len(set_of_row)
    np.testing.assert_array_equal(np.searchsorted(set_of_row, np.arange(len(groups))), sets.first)
    for row, which in enumerate(set_of_row):
        patched = {name for name, on in zip(names, groups[which], strict=True) if on}
        base, source = (np.asarray(tokens[row]) % 2 for tokens in (sets.base, sets.source))

        def value(variable, at, base=base, source=source, patched=patched):
            seen = source if ("input", variable) in patched else base
            seen = source if (variable, "parity") in patched else seen
            return seen[at]

        expected = (value("first", 0) + value("last", -1)) % 2
        if ("parity", "output") in patched:
            expected = (source[0] + source[-1]) % 2
        assert int(sets.target[row, -1]) == expected
        assert int(sets.source_target[row, -1]) == (source[0] + source[-1]) % 2


def test_the_answer_on_the_source_counts_where_it_is_in_the_source() -> None:
    """The answer is at a position that depends on the tokens."""
    task = dataclasses.replace(
        PARITY,
        position_weights=lambda tokens: np.arange(3) == 1 + tokens[:, :1] % 2,
        beside=lambda tokens: (tokens % 2, np.ones_like(tokens)),
    )
    base, source = some_pairs()[:2]
    pairs = Pairs(base, source, task.position_weights_of(base))
    for variant in (task, dataclasses.replace(task, beside=None)):
        sets = draw_edge_sets(variant, ALIGNMENT, pairs, jax.random.key(1), n_rows=512, **KINDS)
        tokens = np.asarray(sets.source)
        counted = np.arange(3) == 1 + tokens[:, :1] % 2
        parity = (tokens[:, :1] + tokens[:, -1:]) % 2
        if variant.beside is None:
            np.testing.assert_array_equal(sets.source_position_weights, counted)
        else:
            expected = np.where(counted, parity, tokens % 2)
            np.testing.assert_array_equal(sets.source_target, expected)


def test_sets_have_rows_in_proportion_to_how_often_they_are_drawn() -> None:
    sets = draw_edge_sets(PARITY, ALIGNMENT, some_pairs(), jax.random.key(1), n_rows=6_400, **KINDS)
    n_rows = np.asarray(sets.n_rows)
    several = 0.35 / (2**N_GROUPS - 1)
    expected = np.array([0.25] + [0.4 / N_GROUPS + several] * N_GROUPS + [several] * 26) * 6_400
    np.testing.assert_allclose(n_rows, expected, atol=50)  # half a chunk
    assert abs(n_rows.sum() - 6_400) < 26 * 50


def test_rows_of_a_batch_have_the_given_kinds() -> None:
    sets = problem().edges
    batch = draw_edge_batch(
        sets, jax.random.key(3), batch_size=64, outside_rows=0.25, single_rows=0.5
    )
    inside = np.asarray(batch.masks)[:, ALIGNMENT.circuit.mask]
    strict, iit = (np.asarray((batch.weights[loss] > 0).any(1)) for loss in (2, 1))
    assert abs(strict.sum() - 16) <= 1 and (strict ^ iit).all()
    assert not inside[strict].any() and inside[iit].any(1).all()
    _, theirs = zip(*ALIGNMENT.groups, strict=True)
    sizes = [len(group) for group in theirs]
    assert (np.isin(inside.sum(1), sizes)).sum() >= 31  # rows with only one group
    np.testing.assert_allclose(batch.weights.sum((1, 2)), 1, rtol=1e-5)
    for half in (slice(32), slice(32, 64)):  # each half has equally many rows of each kind
        assert abs(strict[half].sum() - 8) <= 1


def test_how_many_rows_patch_all_or_no_edges_outside() -> None:
    batch = draw_edge_batch(
        problem().edges, jax.random.key(5), batch_size=4_000, outside_rows=0.25, single_rows=0.5
    )
    outside = np.asarray(batch.masks)[:, ALIGNMENT.outside] > 0
    strict = np.asarray(batch.weights[2] > 0).any(1)
    # With a uniform share, n independent draws are all the same, say all 1, with chance 1/(n+1).
    by_edge, by_writer = (1 / (1 + n) for n in (ALIGNMENT.outside.sum(), OUTSIDE_WRITERS))
    by_chance = (by_edge + by_writer) / 2
    assert abs(outside[strict].all(1).mean() - (0.1 + 0.9 * by_chance)) < 0.04
    assert abs((~outside[strict].any(1)).mean() - 0.9 * by_chance) < 0.04
    assert abs((~outside[~strict].any(1)).mean() - (0.3 + 0.7 * by_chance)) < 0.04
    assert abs(outside[~strict].all(1).mean() - 0.7 * by_chance) < 0.04


def test_edges_outside_are_drawn_by_edges_and_by_writers() -> None:
    outside = jnp.asarray(ALIGNMENT.outside, jnp.float32)
    drawn = np.asarray(draw_outside(jax.random.key(0), outside, jnp.full(400, 0.5)))
    assert not drawn[:, ~ALIGNMENT.outside].any()
    full = np.asarray(outside)
    by_writer = ((drawn == 0).all(2) | (drawn == full).all(2)).all(1)
    assert 140 < by_writer.sum() < 260
    np.testing.assert_allclose(drawn[:, ALIGNMENT.outside].mean(), 0.5, atol=0.05)
    for share in (0.0, 1.0):
        same = draw_outside(jax.random.key(1), outside, jnp.full(3, share))
        np.testing.assert_array_equal(same, share * np.stack([full] * 3))


def test_losses_are_those_of_one_patched_run_each() -> None:
    params = init_params(MODEL, jax.random.key(4))
    drawn = draw_edge_batch(
        problem().edges, jax.random.key(3), batch_size=12, outside_rows=0.25, single_rows=0.5
    )
    batch = jax.tree.map(np.asarray, drawn)  # JAX would compile each step of the loop
    run, loss = jax.jit(as_network(MODEL).run), jax.jit(task_loss)
    written = np.asarray(run(params, batch.source)[1])
    expected = np.zeros(3)
    for row in range(12):
        one = slice(row, row + 1)
        patched = EdgePatch(batch.masks[row], jnp.asarray(written[one]))
        runs = [(batch.source, None, batch.source_target), (batch.base, patched, batch.base_target)]
        for kinds, (tokens, patch, target) in zip(((0,), (1, 2)), runs, strict=True):
            logits, _ = run(params, tokens[one], patch)
            for which in kinds:
                weights = batch.weights[which, one]
                if weights.any():
                    expected[which] += loss(logits, target[one], weights) * weights.sum()
    found = jax.jit(edge_losses, static_argnums=1)(params, MODEL, drawn)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_checks_are_all_edges_outside_then_groups_then_random_sets_then_edges_outside() -> None:
    checks = problem().checks
    n_outside = int(ALIGNMENT.outside.sum())
    assert len(checks.masks) == 1 + N_GROUPS + n_outside + 10
    masks = np.asarray(checks.masks, bool)
    np.testing.assert_array_equal(masks[0], ALIGNMENT.outside)
    inside = masks[1 : 1 + N_GROUPS]
    np.testing.assert_array_equal(inside.any(0), ALIGNMENT.circuit.mask)
    assert checks.n_first == 1 + N_GROUPS + 10
    single = masks[1 + N_GROUPS + 10 :]
    assert (single.sum((1, 2)) == 1).all() and (single.any(0) == ALIGNMENT.outside).all()


def test_training_by_edges_is_deterministic_and_can_be_resumed() -> None:
    given = problem()
    focused = dataclasses.replace(
        CONFIG, refine_batches=20, single_focus=0.5, set_focus=0.5, row_focus=0.5
    )
    whole = train_siit(given, MODEL, focused, validation=given)
    state = init_states(members(focused), given, MODEL)
    for _ in range(2):
        state = loop.advance(state, given, given.take(slice(20)), model=MODEL, config=focused)
    for ours, theirs in zip(
        jax.tree.leaves(whole.history), jax.tree.leaves(state.history), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    assert whole.scores.edges.shape == (1, len(given.checks.which))
    assert whole.worst[0] <= whole.scores.edges.min()


def test_single_edges_are_drawn_more_often_where_the_model_was_wrong() -> None:
    given = problem()
    alone = np.asarray(given.checks.alone)
    np.testing.assert_array_equal(alone, 1 + np.arange(N_GROUPS))  # after all edges outside
    agreement = np.full(len(given.checks.which), 0.25)  # of others, which do not matter
    agreement[alone] = [1, 0.9, 1, 0.7, 1]
    focused = focus_on_wrong(given.edges, given.checks, jnp.asarray(agreement), 0.5)
    chances = np.asarray(focused.single)
    np.testing.assert_allclose(chances[1 : N_GROUPS + 1], [0.1, 0.225, 0.1, 0.475, 0.1], atol=1e-6)
    assert not chances[0] and not chances[N_GROUPS + 1 :].any()
    for same in (np.ones_like(agreement), np.full_like(agreement, np.nan)):
        even = focus_on_wrong(given.edges, given.checks, jnp.asarray(same), 0.5).single
        np.testing.assert_allclose(even[1 : N_GROUPS + 1], 0.2, atol=1e-6)


def test_a_share_of_the_draws_goes_by_errors() -> None:
    chances, wrong = jnp.array([0.0, 1.0, 3.0, 0.0]), jnp.array([1.0, 0.6, 0.1, 0.5])
    found = by_errors(chances, wrong, 0.5)
    np.testing.assert_allclose(found, [0, 0.125 + 0.5 * 2 / 3, 0.375 + 0.5 / 3, 0], rtol=1e-6)
    np.testing.assert_allclose(by_errors(chances, 0 * wrong, 0.5), [0, 0.25, 0.75, 0])


@pytest.fixture(scope="module")
def trained():
    """A model trained until all its scores are 1."""
    given = problem()
    config = dataclasses.replace(
        CONFIG,
        max_batches=2_000,
        round_batches=250,
        batch_size=64,
        threshold=1.0,
        validation_pairs=60,
    )
    return train_siit(given, MODEL, config, validation=given)


def test_wrong_answers_are_found_under_the_set_that_has_them(trained) -> None:
    params, edges = jax.tree.map(lambda leaf: leaf[0], trained.params), problem().edges
    key = jax.random.key(3)
    right = wrong_by_set(params, MODEL, edges, key, rows_at_once=10)
    np.testing.assert_array_equal(right, np.zeros(len(edges.first)))
    for chosen in (0, 7):  # only edges outside; a set of several groups
        rows = edges.first[chosen] + np.arange(edges.n_rows[chosen])
        other = edges._replace(target=edges.target.at[rows].set(1 - edges.target[rows]))
        found = wrong_by_set(params, MODEL, other, key, rows_at_once=10)
        np.testing.assert_array_equal(found, np.arange(len(edges.first)) == chosen)


def test_wrong_rows_are_found(trained) -> None:
    params, edges = jax.tree.map(lambda leaf: leaf[0], trained.params), problem().edges
    given: dict[str, Any] = {"n_batches": 3, "batch_size": 200}
    of_group = edges.first[2] + np.arange(edges.n_rows[2])
    other = edges._replace(target=edges.target.at[of_group].set(1 - edges.target[of_group]))
    for sets, wrong_set in ((edges, -1), (other, 2)):
        rows, wrong = wrong_by_row(params, MODEL, sets, jax.random.key(3), **given, **KINDS)
        assert rows.outside.shape == (600, *ALIGNMENT.outside.shape)
        np.testing.assert_array_equal(wrong, np.asarray(rows.of_set) == wrong_set)
    assert wrong.any()


def test_a_share_of_a_batch_is_drawn_again() -> None:
    sets, batch_size = problem().edges, 400
    rows = draw_rows(sets, jax.random.key(1), batch_size=3, **KINDS)
    single = batch_of(sets, rows)

    def batch(chances: list[float], share: float) -> EdgeBatch:
        again = RowsAgain(rows, jnp.asarray(chances, float), jnp.array(share))
        draw = functools.partial(draw_edge_batch, batch_size=batch_size, **KINDS)
        return jax.jit(draw)(sets, jax.random.key(2), again=again)

    def is_row(batch: EdgeBatch, row: int) -> np.ndarray:
        parts = ("base", "source", "masks", "base_target")
        pairs = [[np.asarray(getattr(of, part)) for part in parts] for of in (batch, single)]
        same = [drawn == stored[row] for drawn, stored in zip(*pairs, strict=True)]
        return np.all([x.reshape(batch_size, -1).all(1) for x in same], 0)

    every = batch([0, 1, 0], 1.0)
    assert is_row(every, 1).all()
    strict = float(rows.only_outside[1])
    np.testing.assert_allclose(every.weights.sum((1, 2)), [1, 1 - strict, strict], rtol=1e-5)
    some = batch([3, 1, 0], 0.4)
    assert abs(is_row(some, 0).mean() - 0.3) < 0.06 and abs(is_row(some, 1).mean() - 0.1) < 0.05
    chex.assert_trees_all_equal(batch([0, 0, 0], 0.4), batch([3, 1, 0], 0.0))


def test_a_trained_model_agrees_under_every_set_of_edges(trained) -> None:
    assert trained.worst[0] == 1
    params = jax.tree.map(lambda leaf: leaf[0], trained.params)
    fresh = usual_checks(PARITY, ALIGNMENT, some_pairs(200, 5), jax.random.key(6), n_random=50)
    assert edge_agreement(params, MODEL, fresh).min() > 0.99


def test_a_leak_at_one_edge_is_found(trained) -> None:
    """The checks align the parity with another MLP than training did."""
    params = jax.tree.map(lambda leaf: leaf[0], trained.params)
    elsewhere = place(PARITY, MODEL, {**PARITY.places, "parity": ("m1",)})
    checks = usual_checks(PARITY, elsewhere, some_pairs(200, 5), jax.random.key(6), n_random=5)
    found = np.asarray(edge_agreement(params, MODEL, checks))
    assert found[0] < 0.9  # all edges outside
    graph, n_first = as_network(MODEL).graph, int(checks.n_first)
    leaks = set()
    for share, mask in zip(found[n_first:], checks.masks[n_first:], strict=True):
        ((writer, reader),) = np.argwhere(mask).tolist()
        if share < 0.9:
            leaks.add(f"{graph.writers[writer]}->{graph.readers[reader]}")
    assert leaks == {"a0.h0->m0", "a0.h1->m0", "m0->logits"}  # those of the trained alignment


def test_training_leaves_out_edges_outside_while_the_model_fails_other_checks(trained) -> None:
    good = jax.tree.map(lambda leaf: leaf[0], trained.params)
    bad = init_params(MODEL, jax.random.key(4))
    given = problem()
    n_first = int(given.checks.n_first)
    score = jax.jit(functools.partial(scores_and_finiteness, model=MODEL, problem=given))
    for params, threshold, evaluated in ((bad, 0.9, False), (bad, 0.0, True), (good, 1.0, True)):
        found, finite = score(params, threshold=jnp.array(threshold))
        whole, _ = score(params, threshold=None)
        np.testing.assert_array_equal(found.edges[:n_first], whole.edges[:n_first])
        assert finite
        if evaluated:
            np.testing.assert_array_equal(found.edges, whole.edges)
        else:
            assert np.isnan(found.edges[n_first:]).all()
            of_whole, of_found = (worst_that_counts(one, jnp.ones(3)) for one in (whole, found))
            assert of_whole <= of_found < threshold


def test_a_network_with_nan_never_agrees() -> None:
    params = init_params(MODEL, jax.random.key(4))
    params["unembed"]["b_U"] = params["unembed"]["b_U"].at[0].set(jnp.nan)
    assert (edge_agreement(params, MODEL, problem().checks) == 0).all()


def test_undefined_answers_do_not_count() -> None:
    """Case 11: a query patched alone selects several positions, whose mean is undefined."""
    task = compile_case("11")
    alignment = align(task)
    pairs = task.pairs(task.split(0.2), "train", 50, jax.random.key(0))
    sets = draw_edge_sets(task, alignment, pairs, jax.random.key(1), n_rows=1_024, **KINDS)
    targets = np.asarray(sets.target)
    assert (targets >= 0).all()
    counted = np.maximum.reduceat(np.asarray(sets.position_weights).any(1), np.asarray(sets.first))
    assert 0 < (~counted).sum() < 16  # sets without any answer
    np.testing.assert_array_equal(np.asarray(sets.several) > 0, counted & (np.arange(32) > 0))
    checks = usual_checks(task, alignment, pairs, jax.random.key(2), n_random=20)
    assert not np.asarray(has_answer(checks.targets)).all()
    params = init_params(alignment.network, jax.random.key(0))
    agreed = edge_agreement(params, alignment.network, checks)
    assert np.isfinite(agreed).all() and agreed.max() <= 1


def test_rows_of_a_set_with_few_answers_are_pairs_with_one() -> None:
    """Case 22: under some sets the algorithm has an answer for less than a pair in ten."""
    task = compile_case("22")
    alignment = align(task)
    pairs = task.pairs(task.split(0.2), "train", 2_000, jax.random.key(0))
    sets = draw_edge_sets(task, alignment, pairs, jax.random.key(1), n_rows=2_048, **KINDS)
    positions = np.asarray(sets.position_weights)
    answered = np.asarray(positions.any(1))
    parts = zip(np.asarray(sets.first), np.asarray(sets.n_rows), strict=True)
    share = np.array([answered[first : first + n].mean() for first, n in parts])
    drawn = np.flatnonzero(np.asarray(sets.single + sets.several))
    assert np.equal(share[drawn], 1).mean() > 0.99
    never = np.setdiff1d(np.arange(1, len(share)), drawn)
    assert not share[never].any()
    # Targets belong to their rows: the algorithm answers the same again.
    single = int(np.flatnonzero(np.asarray(sets.single))[0])
    rows = slice(int(sets.first[single]), int(sets.first[single] + sets.n_rows[single]))
    own, _ = group_masks(alignment)
    again = task.defined_answers(
        np.asarray(sets.base[rows]),
        np.asarray(sets.source[rows]),
        own[single - 1][None].astype(np.float32),
    )[0]
    where = np.greater(positions[rows], 0)
    np.testing.assert_array_equal(np.asarray(again)[where], np.asarray(sets.target[rows])[where])


def test_rows_patched_everywhere_have_an_answer_beside_rows_patched_at_positions() -> None:
    """Case 22: a set seldom has an answer when it is patched everywhere, but often at positions."""
    task = compile_case("22")
    alignment = align(task)
    pairs = task.pairs(task.split(0.2), "train", 2_000, jax.random.key(0))
    settings = {**KINDS, "position_rows": 0.5}
    sets = draw_edge_sets(task, alignment, pairs, jax.random.key(1), n_rows=8_192, **settings)
    answered = np.asarray(np.asarray(sets.position_weights).any(1))
    everywhere = np.asarray(np.asarray(sets.patched_at).all(1))
    singles = np.flatnonzero(np.asarray(sets.single))
    assert len(singles) == len(alignment.groups)
    for one in singles:
        rows = slice(int(sets.first[one]), int(sets.first[one] + sets.n_rows[one]))
        assert everywhere[rows].any() and not everywhere[rows].all()
        for kind in (everywhere[rows], ~everywhere[rows]):
            assert answered[rows][kind].mean() > 0.5


def test_every_single_edge_is_checked_on_pairs_with_an_answer() -> None:
    """Case 22: without a choice of pairs, two of the 64 pairs have one when a query is patched."""
    task = compile_case("22")
    alignment = align(task)
    pairs = task.pairs(task.split(0.2), "train", 2_000, jax.random.key(0))

    def answered(checks) -> np.ndarray:
        alone = np.asarray(checks.alone)
        targets = np.asarray(checks.targets)[np.asarray(checks.which)[alone[alone >= 0]]]
        counted = np.logical_and(has_answer(targets), np.asarray(checks.position_weights) > 0)
        return counted.any(2).sum(1)

    few = Pairs(*(part[:64] for part in pairs))
    plain = usual_checks(task, alignment, few, jax.random.key(2), n_random=5)
    chosen = usual_checks(task, alignment, pairs, jax.random.key(2), n_random=5, n_pairs=64)
    assert answered(plain).min() < 4 <= answered(chosen).min()
    assert len(chosen.base) == 64
    np.testing.assert_array_equal(chosen.masks, plain.masks)


def test_rows_can_be_patched_at_some_positions() -> None:
    """Each target is the algorithm's answer under the patch at the row's own positions."""
    task = compile_case("3")
    alignment = align(task)
    pairs = task.pairs(task.split(0.2), "train", 400, jax.random.key(0))
    given = task, alignment, pairs, jax.random.key(1)
    sets = draw_edge_sets(*given, n_rows=1_024, position_rows=0.5, **KINDS)
    at = np.asarray(sets.patched_at)
    assert (at < 1).any(1).mean() == pytest.approx(0.5, abs=0.06)
    set_of_row = np.repeat(np.arange(len(sets.masks)), np.asarray(sets.n_rows))
    groups = sets_of_groups(alignment, 1_024, np.random.default_rng(0))
    own = np.einsum("sg,gwr->swr", groups.astype(np.float32), group_masks(alignment)[0])
    rows = np.arange(0, len(at), 9)
    drawn = (np.asarray(part)[rows] for part in (sets.base, sets.source, own[set_of_row], at))
    found, counted = np.asarray(sets.target)[rows], np.asarray(sets.position_weights)[rows] > 0
    expected, everywhere = each_answer(task.defined_answers, *drawn)
    np.testing.assert_allclose(found[counted], np.asarray(expected)[counted], atol=1e-5)
    assert not np.allclose(found[counted], np.asarray(everywhere)[counted], atol=0.1)


@jax.jit
def each_answer(answers, base, source, masks, at):
    """For each row, the answer under its mask at its positions, and everywhere."""

    def one(row):
        base, source, mask, at = row
        inputs = base[None], source[None], mask[None]
        return answers.at_positions(*inputs, at[None])[0, 0], answers(*inputs)[0, 0]

    return jax.lax.map(one, (base, source, masks, at))


def test_losses_are_of_runs_patched_at_the_rows_positions() -> None:
    task = compile_case("3")
    alignment = align(task)
    pairs = task.pairs(task.split(0.2), "train", 100, jax.random.key(0))
    sets = draw_edge_sets(
        task, alignment, pairs, jax.random.key(1), n_rows=512, position_rows=0.8, **KINDS
    )
    batch = draw_edge_batch(
        sets, jax.random.key(2), batch_size=32, outside_rows=0.25, single_rows=0.4
    )
    batch = jax.tree.map(np.asarray, batch)  # JAX would compile each step of the loop
    params = init_params(alignment.network, jax.random.key(3))
    run = jax.jit(as_network(alignment.network).run)
    written = np.asarray(run(params, batch.source)[1])
    assert batch.patched_at is not None
    logits = [
        run(
            params,
            batch.base[row : row + 1],
            EdgePatch(
                batch.masks[row],
                jnp.asarray(written[row : row + 1]),
                batch.patched_at[row : row + 1],
            ),
        )[0]
        for row in range(32)
    ]
    errors = (np.concatenate(logits)[..., 0] - batch.base_target) ** 2
    losses = jax.jit(edge_losses, static_argnums=1)
    found = losses(params, alignment.network, batch)
    np.testing.assert_allclose(found[1], (errors * batch.weights[1]).sum(), rtol=1e-4)
    everywhere = losses(params, alignment.network, batch._replace(patched_at=None))
    assert abs(found[1] - everywhere[1]) > 1e-4


def test_an_algorithm_that_does_not_say_where_its_values_are_is_refused() -> None:
    given = PARITY, ALIGNMENT, some_pairs(), jax.random.key(1)
    with pytest.raises(ValueError, match="set position_rows to 0"):
        draw_edge_sets(*given, n_rows=64, position_rows=0.5, **KINDS)


@pytest.mark.slow
def test_cases_of_one_shape_train_together_as_alone() -> None:
    config = dataclasses.replace(
        CONFIG, max_batches=10, round_batches=5, refine_batches=5, row_focus=0.5
    )
    given = [problem(), problem(seed=7)]
    # The second case has fewer sets and checks.
    pairs = some_pairs(seed=7)
    fewer = usual_checks(
        PARITY, ALIGNMENT, Pairs(*(x[:10] for x in pairs)), jax.random.key(2), n_random=3
    )
    sets = draw_edge_sets(
        PARITY, ALIGNMENT, pairs, jax.random.key(1), n_rows=300, n_sets=20, **KINDS
    )
    given[1] = given[1]._replace(checks=fewer, edges=sets)
    together = train_together(given, [MODEL] * 2, [Member(0, config)], validation=given)
    for one, found in zip(given, together, strict=True):
        alone = train_siit(one, MODEL, config, validation=one)
        np.testing.assert_allclose(found.scores.edges, alone.scores.edges, atol=1e-6)
        np.testing.assert_allclose(found.history.losses, alone.history.losses, rtol=1e-3)


def test_settings_that_do_not_apply_are_refused() -> None:
    with pytest.raises(ValueError, match="steps='separate' applies to patches of nodes"):
        SiitConfig(patches="edges", steps="separate")
    with pytest.raises(ValueError, match="position_rows=0.5 applies to patches of edges; with"):
        SiitConfig(patches="nodes", position_rows=0.5)
    with pytest.raises(ValueError, match="at most 1 together, got 0.7 and 0.6"):
        SiitConfig(patches="edges", outside_rows=0.7, single_rows=0.6)
    with pytest.raises(ValueError, match="needs a problem with `edges`"):
        given = problem()._replace(edges=None)
        train_siit(given, MODEL, CONFIG, validation=given)
    with pytest.raises(ValueError, match="needs a separate validation problem"):
        train_siit(problem(), MODEL, CONFIG)
    assert preset("edge-siit", "3").patches == "edges"
    assert preset("siit", "3").patches == "nodes"
