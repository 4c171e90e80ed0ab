"""Several cases trained in one compiled program: problems and weights padded to common shapes.

Many cases share all sizes except those of their vocabularies: 51 of the 129 have the same shape.
Padding does not change what is learned. Padding tokens do not occur and get no gradient; padding
outputs have a bias of minus a billion, so their probability and gradient are zero; rows of zeros
among the variables and free nodes are never drawn, and score the same as the unpatched model.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Int

from interpbench_jax.model import TransformerConfig
from interpbench_jax.model.vocabularies import pad_vocabularies
from interpbench_jax.siit.config import SiitConfig
from interpbench_jax.siit.edge_checks import EdgeChecks
from interpbench_jax.siit.edge_sets import EdgeSets
from interpbench_jax.siit.members import Member
from interpbench_jax.siit.mesh import copy_everywhere
from interpbench_jax.siit.problem import SiitProblem
from interpbench_jax.siit.state import TrainState, init_states, static_settings
from interpbench_jax.siit.train import (
    OnRound,
    TrainResult,
    advance_members,
    are_over,
    confirm,
    result_of,
    run_rounds,
    sides,
)
from interpbench_jax.siit.validation import Scores
from interpbench_jax.tasks.task import Behaviour


def train_together(
    problems: Sequence[SiitProblem],
    models: Sequence[TransformerConfig],
    members: Sequence[Member],
    *,
    validation: Sequence[SiitProblem] | None = None,
    state: TrainState | None = None,
    mesh: Mesh | None = None,
    on_round: OnRound | None = None,
    on_result: Callable[[int, TrainResult], None] | None = None,
    until_first: bool = False,
) -> list[TrainResult]:
    """Trains the members of every case at the same time; see `train_siit` for each.

    Cases that are finished leave the group whenever half of it can go.

    Args:
      problems: one per case.
      models: their shapes, which may differ only in vocabularies and initial scale.
      members: seeds and rates, the same for all cases.
      validation: validation problem of each case, as in `train_siit`.
      state: state of an interrupted run, to continue from.
      mesh: devices over which members and batches are distributed; see `device_mesh`.
      on_round: called after every round with the state of all cases; see `states_by_case`.
      on_result: called with a case's place and result as soon as it is finished, after `on_round`.
      until_first: end a case after the round in which one of its members reaches the threshold.

    Raises:
      ValueError: the shapes differ in other sizes, or some cases have labels and others values.
    """
    common = _common_shape(problems, models)
    config = members[0].config
    judged = [None] * len(problems) if validation is None else validation
    both = [sides(*one, config) for one in zip(problems, judged, strict=True)]
    training = _stacked([trained_on for trained_on, _ in both])
    looked_at = _stacked([part.take(slice(config.validation_pairs)) for _, part in both])
    if state is None:
        state = init_states_together([judged for _, judged in both], models, members)
    if mesh is not None:
        state, training, looked_at, both = copy_everywhere((state, training, looked_at, both), mesh)
    settings = static_settings(config)
    group = _Group(np.arange(len(problems)), training, looked_at)
    judged_last: dict[int, TrainResult] = {}  # the result of a case's last round, if it was judged
    results: dict[int, TrainResult] = {}

    def result(place: int, own: TrainState) -> TrainResult:
        validated_on = both[place][1]
        own = _unpad_state(own, models[place], validated_on)
        return result_of(own, models[place], validated_on)

    def collect(seen: TrainState) -> None:
        """Takes the results of cases that are finished."""
        over = np.array(are_over(seen, config).all(1))
        for place in np.flatnonzero(over).tolist():
            if place in results:
                continue
            own, found = _of_cases(seen, place), judged_last.get(place)
            if found is None or (found.rounds != own.round).any():
                found = result(place, own)
            results[place] = found
            if on_result is not None:
                on_result(place, found)

    def advance_once(state: TrainState, seen: TrainState) -> TrainState:
        if len(smaller := _group(seen, config)) < len(group.places):
            group.places = smaller
            group.training, group.looked_at = _of_cases((training, looked_at), smaller)
        given = group.places, group.training, group.looked_at
        return _advance(state, *given, model=common, settings=settings, mesh=mesh)

    def confirmed(seen: TrainState, reached: Bool[Array, "case member"]) -> TrainState:
        cases = states_by_case(seen)
        for place in np.flatnonzero(reached.any(1)).tolist():
            own, found = cases[place], result(place, cases[place])
            judged_last[place] = found
            cases[place] = confirm(own, reached[place], found, until_first=until_first)
        return seen._replace(
            done=jnp.stack([own.done for own in cases]),
            best_score=jnp.stack([own.best_score for own in cases]),
        )

    def after_round(seen: TrainState) -> None:
        if on_round is not None:
            on_round(seen)
        collect(seen)

    collect(state)  # those that an interrupted run had finished
    run_rounds(state, config, advance_once, confirmed, mesh=mesh, axis=1, on_round=after_round)
    return [results[place] for place in range(len(models))]


@dataclass
class _Group:
    """The cases that are trained, with their problems."""

    places: Int[np.ndarray, " place"]
    training: SiitProblem
    looked_at: SiitProblem


def _group(state: TrainState, config: SiitConfig) -> Int[np.ndarray, " place"]:
    """Places of the cases that train on, with some finished ones up to a power of two, or to all.

    Few sizes, since every one of them is compiled.
    """
    over = np.array(are_over(state, config).all(1))
    size = 1 << (int((~over).sum()) - 1).bit_length()
    return np.argsort(over, kind="stable")[:size]


def _of_cases(tree: Any, places: Int[Array | np.ndarray, " place"] | int) -> Any:
    """The entries at some places of every array's leading axis, or the one at a place."""
    return jax.tree.map(lambda leaf: leaf[places], tree)


def init_states_together(
    problems: Sequence[SiitProblem],
    models: Sequence[TransformerConfig],
    members: Sequence[Member],
) -> TrainState:
    """The initial state of every case in the common shape, with a leading axis over cases.

    Args:
      problems: the validation problem of each case.
      models: their shapes.
      members: seeds and rates, the same for all cases.

    Raises:
      ValueError: as `train_together`.
    """
    common = _common_shape(problems, models)
    most = _most_scores(problems)
    fresh = [
        _pad_state(init_states(members, problem, model), common, most)
        for problem, model in zip(problems, models, strict=True)
    ]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *fresh)


def states_by_case(state: TrainState) -> list[TrainState]:
    """The state of each case, still in the common shape."""
    return [_of_cases(state, place) for place in range(len(state.round))]


def same_shape(models: Sequence[TransformerConfig], categorical: Sequence[bool]) -> list[list[int]]:
    """Groups models that can be trained together, as lists of their indices.

    Args:
      models: the models' shapes.
      categorical: for each model, whether its task has labels rather than values.
    """
    groups: dict[object, list[int]] = {}
    for place, (model, labels) in enumerate(zip(models, categorical, strict=True)):
        smallest = 1 if model.pad is None else model.pad + 1  # a config has its padding token
        rest = replace(model, init_std=1.0, d_vocab=smallest, d_vocab_out=1)
        groups.setdefault((rest, labels), []).append(place)
    return list(groups.values())


def common_shape(models: Sequence[TransformerConfig]) -> TransformerConfig:
    """The smallest shape that fits all of these models.

    Raises:
      ValueError: they differ in more than vocabularies and initial scale.
    """
    largest = {
        size: max(getattr(model, size) for model in models) for size in ("d_vocab", "d_vocab_out")
    }
    common = {replace(model, init_std=1.0, **largest) for model in models}
    if len(common) != 1:
        raise ValueError(
            "cases trained together may differ in vocabularies only, got "
            + "; ".join(str(model) for model in models)
        )
    return common.pop()


def _common_shape(
    problems: Sequence[SiitProblem], models: Sequence[TransformerConfig]
) -> TransformerConfig:
    if len({problem.categorical for problem in problems}) > 1:
        raise ValueError("cases trained together must all have labels or all have values")
    if len(widths := {problem.base.shape[1] for problem in problems}) > 1:
        raise ValueError(
            "inputs of cases trained together must have equally many positions, got "
            + " and ".join(map(str, sorted(widths)))
        )
    return common_shape(models)


@functools.partial(jax.jit, static_argnames=("model", "settings", "mesh"))
def _advance(
    state: TrainState,
    group: Int[Array | np.ndarray, " place"],
    training: SiitProblem,
    validation: SiitProblem,
    *,
    model: TransformerConfig,
    settings: SiitConfig,
    mesh: Mesh | None,
) -> TrainState:
    """Trains the cases of a group for a round, each on its own problem; the others stay."""
    own = _of_cases(state, group)
    until = jnp.minimum(own.round.max() + 1, settings.n_rounds)
    advance = functools.partial(
        advance_members, until=until, model=model, settings=settings, mesh=mesh, n_cases=len(group)
    )
    own = jax.vmap(advance)(own, training, validation)
    return jax.tree.map(lambda every, new: every.at[group].set(new), state, own)


def _stacked(problems: Sequence[SiitProblem]) -> SiitProblem:
    """One problem with a leading axis over cases; smaller problems repeat their pairs."""
    n_pairs = max(problem.n_pairs for problem in problems)
    n_variables, n_free, _ = _most_scores(problems)
    if any(problem.behaviour is not None for problem in problems):
        problems = [_with_behaviour(problem) for problem in problems]

    def padded(problem: SiitProblem) -> SiitProblem:
        again: Int[np.ndarray, " pair"] = np.arange(n_pairs) % problem.n_pairs
        problem = problem.take(again)
        more = n_variables - len(problem.variable_nodes)
        unchanged = jnp.broadcast_to(problem.base_target, (more, *problem.base_target.shape))
        return problem._replace(
            variable_targets=jnp.concatenate([problem.variable_targets, unchanged]),
            variable_nodes=_rows(problem.variable_nodes, n_variables),
            free_nodes=_rows(problem.free_nodes, n_free),
            edges=_padded_sets(problem.edges, [other.edges for other in problems]),
            checks=_padded_checks(problem.checks, [other.checks for other in problems]),
        )

    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(padded, problems))


def _with_behaviour(problem: SiitProblem) -> SiitProblem:
    """The same problem with explicit targets of the unpatched model."""
    if problem.behaviour is not None:
        return problem
    return problem._replace(behaviour=Behaviour(problem.base_target, problem.position_weights))


def _padded_sets(sets: EdgeSets | None, of_all: Sequence[EdgeSets | None]) -> EdgeSets | None:
    """Pads to the largest number of sets and rows of any case; padding is never drawn."""
    if sets is None:
        return None
    others = [other for other in of_all if other is not None]
    n_sets = max(len(other.masks) for other in others)
    n_rows = max(len(other.base) for other in others)
    padded = {
        name: _rows(getattr(sets, name), n_sets)
        for name in ("masks", "single", "several", "first", "n_rows")
    } | {
        name: _rows(getattr(sets, name), n_rows)
        for name in (
            *("base", "source", "target", "position_weights"),
            *("source_target", "source_position_weights"),
        )
    }
    patched_at = None if sets.patched_at is None else _rows(sets.patched_at, n_rows)
    return sets._replace(**padded, patched_at=patched_at)


def _padded_checks(
    checks: EdgeChecks | None, of_all: Sequence[EdgeChecks | None]
) -> EdgeChecks | None:
    """Pads to the largest number of checks of any case; padding patches nothing."""
    if checks is None:
        return None
    others = [other for other in of_all if other is not None]
    again: Int[np.ndarray, " pair"] = np.arange(max(len(o.base) for o in others)) % len(checks.base)
    n_checks = max(len(other.which) for other in others)
    return EdgeChecks(
        masks=_rows(checks.masks, n_checks),
        base=checks.base[again],
        source=checks.source[again],
        position_weights=checks.position_weights[again],
        targets=_rows(checks.targets, max(len(other.targets) for other in others))[:, again],
        which=_rows(checks.which, n_checks),
        alone=jnp.pad(
            checks.alone,
            (0, max(len(other.alone) for other in others) - len(checks.alone)),
            constant_values=-1,
        ),
        n_first=checks.n_first,
    )


def _most_scores(problems: Sequence[SiitProblem]) -> tuple[int, int, int]:
    """The largest numbers of variables, free nodes and checks of any case."""
    return (
        max(len(problem.variable_nodes) for problem in problems),
        max(len(problem.free_nodes) for problem in problems),
        max(0 if problem.checks is None else len(problem.checks.which) for problem in problems),
    )


def _rows(rows: Array, n: int) -> Array:
    return jnp.pad(rows, ((0, n - len(rows)), *[(0, 0)] * (rows.ndim - 1)))


def _pad_state(
    state: TrainState, common: TransformerConfig, n_scores: tuple[int, int, int]
) -> TrainState:
    """Pads weights, moments and history to the largest case."""
    weights = functools.partial(
        pad_vocabularies, d_vocab=common.d_vocab, d_vocab_out=common.d_vocab_out
    )
    scores = state.history.scores

    def columns(scores: Array, n: int) -> Array:
        more = ((0, 0), (0, 0), (0, n - scores.shape[-1]))
        return jnp.pad(scores, more, constant_values=jnp.nan)

    more = Scores(scores.accuracy, *map(columns, scores[1:], n_scores))
    return state._replace(
        params=weights(state.params),
        best_params=weights(state.best_params),
        optimizer_state=weights(state.optimizer_state, bias=0.0),
        history=state.history._replace(scores=more),
    )


def _unpad_state(state: TrainState, model: TransformerConfig, problem: SiitProblem) -> TrainState:
    """Removes the padding of one case; the optimizer's state is not needed any more."""
    params, scores = state.best_params, state.history.scores
    own = Scores(
        scores.accuracy,
        scores.iia[..., : len(problem.variable_nodes)],
        scores.siia[..., : len(problem.free_nodes)],
        scores.edges[..., : 0 if problem.checks is None else len(problem.checks.which)],
    )
    best = {
        **params,
        "embed": {"W_E": params["embed"]["W_E"][:, : model.d_vocab]},
        "unembed": {
            "W_U": params["unembed"]["W_U"][..., : model.d_vocab_out],
            "b_U": params["unembed"]["b_U"][:, : model.d_vocab_out],
        },
    }
    return state._replace(best_params=best, history=state.history._replace(scores=own))
