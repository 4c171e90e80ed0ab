"""The training loop: sample, step, validate, stop early, all in one compiled function.

The loop is a `while_loop` over rounds that can be left and re-entered after any round. Progress,
checkpoints and interrupts are handled outside, on the host, at the cost of one call per round.
Members of a population are a `vmap` axis; a member that is done stops changing.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Bool, Float, Int

from interpbench_jax.model import Params, TransformerConfig
from interpbench_jax.model.network import Network
from interpbench_jax.siit.config import SiitConfig
from interpbench_jax.siit.edge_batch import RowsAgain, draw_edge_batch, own_rows
from interpbench_jax.siit.edge_sets import EdgeSets, by_errors, focus_on_wrong
from interpbench_jax.siit.edge_step import update_by_edges
from interpbench_jax.siit.members import Member
from interpbench_jax.siit.mesh import (
    DATA,
    POPULATION,
    copy_everywhere,
    gather,
    spread_members,
)
from interpbench_jax.siit.problem import SiitProblem
from interpbench_jax.siit.state import (
    History,
    TrainState,
    directions,
    init_states,
    plateau,
    static_settings,
)
from interpbench_jax.siit.step import IIT, STRICT, draw_batch, own_part, update
from interpbench_jax.siit.survey import wrong_by_row, wrong_by_set
from interpbench_jax.siit.validation import Scores, scores_and_finiteness, validate

# The learning rate at the start of the refining stage, relative to that of the first stage.
_REFINING_RATE = 1 / 3


class TrainResult(NamedTuple):
    """What training returns; every array has a leading axis over members.

    Attributes:
      params: weights after each member's best round.
      scores: scores of these weights on all validation pairs, by which the round was chosen.
      worst: for each member, the smallest of the scores that count for any member; all members are
        compared by the same scores.
      worst_of_nodes: the same without agreement under patched edges.
      history: losses and scores per round.
      rounds: number of rounds that each member took.
      diverged: whether a loss, or an output in any validation run, was not finite.
    """

    params: Params
    scores: Scores
    worst: Float[Array, " member"]
    worst_of_nodes: Float[Array, " member"]
    history: History
    rounds: Int[Array, " member"]
    diverged: Bool[Array, " member"]


OnRound = Callable[[TrainState], None]


def train_siit(
    problem: SiitProblem,
    model: TransformerConfig | Network,
    config: SiitConfig | Sequence[Member],
    *,
    validation: SiitProblem | None = None,
    state: TrainState | None = None,
    mesh: Mesh | None = None,
    on_round: OnRound | None = None,
    until_first: bool = False,
) -> TrainResult:
    """Trains every member until its scores reach the threshold or batches run out.

    Scores after a round are those on some validation pairs. A member that reaches the threshold on
    these is evaluated on all of them, and goes on if it misses it there.

    Args:
      problem: pairs, targets and aligned nodes.
      model: shape of the transformer to train, or another network.
      config: settings of a single model with seed 0, or the members of a population.
      validation: pairs that decide when to stop and which weights are best; by default, some pairs
        of `problem` are held out for this, see `SiitProblem.split`.
      state: state of an interrupted run, to continue from; the result is bit-identical to a run
        without interruption on the same device.
      mesh: devices over which members and batches are distributed; see `device_mesh`.
      on_round: called with the state after every round.
      until_first: end the run after the round in which a member reaches the threshold.

    Source: Gupta et al. 2024, InterpBench, section 3.
    """
    members = (Member(0, config),) if isinstance(config, SiitConfig) else tuple(config)
    settings = members[0].config
    training, validation = sides(problem, validation, settings)
    looked_at = validation.take(slice(settings.validation_pairs))
    state = init_states(members, validation, model) if state is None else state
    if mesh is not None:
        state, training, looked_at, validation = copy_everywhere(
            (state, training, looked_at, validation), mesh
        )
    judged: list[TrainResult] = []

    def advance_once(state: TrainState, seen: TrainState) -> TrainState:
        del seen
        return advance(state, training, looked_at, model=model, config=settings, mesh=mesh)

    def confirmed(seen: TrainState, reached: Bool[Array, " member"]) -> TrainState:
        judged.append(result_of(seen, model, validation))
        return confirm(seen, reached, judged[-1], until_first=until_first)

    state = run_rounds(state, settings, advance_once, confirmed, mesh=mesh, on_round=on_round)
    if judged and (judged[-1].rounds == state.round).all():
        return judged[-1]
    return result_of(state, model, validation)


def run_rounds(
    seen: TrainState,
    config: SiitConfig,
    advance_once: Callable[[TrainState, TrainState], TrainState],
    confirmed: Callable[[TrainState, Bool[Array, "*case member"]], TrainState],
    *,
    mesh: Mesh | None,
    axis: int = 0,
    on_round: OnRound | None,
) -> TrainState:
    """Trains round by round until every member is done or has used up its rounds.

    Args:
      seen: the state, readable by every process.
      config: the settings.
      advance_once: trains for a round, given the state distributed over the devices and the same
        state as every process can read it.
      confirmed: the state after a round in which the given members reached the threshold on some
        validation pairs: the same, or with members that go on.
      mesh: devices over which members and batches are distributed.
      axis: the axis over members in the arrays of the state.
      on_round: called with the state after every round.

    Returns:
      The last state, readable by every process.
    """
    state = seen if mesh is None else spread_members(seen, mesh, axis=axis)
    while not finished(seen, config):
        ended = seen.done
        state = advance_once(state, seen)
        seen = state if mesh is None else gather(state, mesh)
        if (reached := just_reached(seen, ended)).any():
            seen = confirmed(seen, reached)
            state = seen if mesh is None else spread_members(seen, mesh, axis=axis)
        if on_round is not None:
            on_round(seen)
    return seen


def sides(
    problem: SiitProblem, validation: SiitProblem | None, config: SiitConfig
) -> tuple[SiitProblem, SiitProblem]:
    """The training and validation pairs; the latter are given or split off from the former."""
    return problem.split(config.held_out) if validation is None else (problem, validation)


def result_of(
    state: TrainState, model: TransformerConfig | Network, validation: SiitProblem
) -> TrainResult:
    """The result of a finished state, evaluated on the validation pairs."""
    scores = _validate_members(state.best_params, validation, model=model)
    of_nodes, worst = (
        jax.vmap(smallest, (0, None))(scores, state.rates.weights.max(0))
        for smallest in (worst_of_nodes_that_counts, worst_that_counts)
    )
    return TrainResult(
        params=state.best_params,
        scores=scores,
        worst=worst,
        worst_of_nodes=of_nodes,
        history=state.history,
        rounds=state.round,
        diverged=state.diverged,
    )


@functools.partial(jax.jit, static_argnames="model")
def _validate_members(
    params: Params, validation: SiitProblem, *, model: TransformerConfig | Network
) -> Scores:
    """The scores of every member on all validation pairs, one member after the other."""
    return jax.lax.map(lambda own: validate(own, model, validation), params)


def just_reached(state: TrainState, ended: Bool[Array, "..."]) -> Bool[Array, "..."]:
    """Whether a member reached the threshold in the last round.

    Args:
      state: the state after the round.
      ended: the members that had ended before.
    """
    return state.done & ~state.diverged & ~ended


def confirm(
    state: TrainState, reached: Bool[Array, " member"], result: TrainResult, *, until_first: bool
) -> TrainState:
    """Lets members go on that reach the threshold on some validation pairs, but not on all.

    Args:
      state: the state after a round.
      reached: the members that reached the threshold in this round.
      result: their scores on all validation pairs.
      until_first: end all members if one has reached it on all pairs.
    """
    worst = jax.vmap(worst_that_counts)(result.scores, state.rates.weights)
    failed = reached & (worst < state.rates.threshold)
    done = state.done & ~failed
    if until_first:
        done = done | (reached & ~failed).any()
    return state._replace(done=done, best_score=jnp.where(failed, worst, state.best_score))


def worst_that_counts(scores: Scores, weights: Float[Array, "3"]) -> Float[Array, ""]:
    """The smallest of the scores whose loss has a weight."""
    of_nodes = worst_of_nodes_that_counts(scores, weights)
    return jnp.minimum(of_nodes, jnp.nanmin(scores.edges, initial=1.0))


def worst_of_nodes_that_counts(scores: Scores, weights: Float[Array, "3"]) -> Float[Array, ""]:
    """The smallest of accuracy, and of IIA and SIIA if their losses have a weight."""
    iia = jnp.where(weights[IIT] > 0, scores.iia.min(initial=1.0), 1.0)
    siia = jnp.where(weights[STRICT] > 0, scores.siia.min(initial=1.0), 1.0)
    return jnp.minimum(scores.accuracy, jnp.minimum(iia, siia))


def finished(state: TrainState, config: SiitConfig) -> bool:
    """Whether every member is done or has used up its rounds."""
    return bool(are_over(state, config).all())


def are_over(state: TrainState, config: SiitConfig) -> Bool[Array, "*case member"]:
    """For each member, whether it is done or has used up its rounds."""
    return state.done | (state.round >= config.n_rounds)


def advance(
    state: TrainState,
    training: SiitProblem,
    validation: SiitProblem,
    *,
    model: TransformerConfig | Network,
    config: SiitConfig,
    rounds: int = 1,
    mesh: Mesh | None = None,
) -> TrainState:
    """Trains every member for some rounds, or until it is done.

    With a mesh, the state is distributed over its devices and the problems copied to all of them.
    Compiled once per model shape, problem shape and `static_settings`; `rounds` is an array input,
    and so are the rates, weights and threshold that the state holds for every member.
    """
    settings = static_settings(config)
    if isinstance(model, TransformerConfig):
        model = replace(model, init_std=1.0)  # only initial weights depend on it
    return _advance(state, training, validation, rounds, model=model, settings=settings, mesh=mesh)


# The state is not donated: `on_round` and resuming keep it, and it is small beside a batch's
# activations (case 13: weights, moments and the best weights of a member are 0.2 MB).
@functools.partial(jax.jit, static_argnames=("model", "settings", "mesh"))
def _advance(
    state: TrainState,
    training: SiitProblem,
    validation: SiitProblem,
    rounds: Int[Array, ""] | int,
    *,
    model: TransformerConfig | Network,
    settings: SiitConfig,
    mesh: Mesh | None,
) -> TrainState:
    until = jnp.minimum(state.round.max() + rounds, settings.n_rounds)
    return advance_members(
        state, training, validation, until=until, model=model, settings=settings, mesh=mesh
    )


def advance_members(
    state: TrainState,
    training: SiitProblem,
    validation: SiitProblem,
    *,
    until: Int[Array, ""],
    model: TransformerConfig | Network,
    settings: SiitConfig,
    mesh: Mesh | None,
    n_cases: int = 1,
) -> TrainState:
    """Trains every member up to some round; call it inside a compiled function.

    Args:
      state: the members' state.
      training: pairs to train on.
      validation: pairs to score each round on.
      until: the round to stop after.
      model: the model's shape.
      settings: the static settings.
      mesh: devices over which members and batches are distributed.
      n_cases: how many cases are trained at the same time, under a `vmap` outside.
    """
    divided = mesh is not None and mesh.shape[DATA] > 1

    def member(
        state: TrainState, given: tuple[SiitProblem, SiitProblem, Array], parallel: int = 1
    ) -> TrainState:
        training, validation, until = given
        return jax.lax.while_loop(
            lambda s: (s.round < until) & ~s.done,
            lambda s: _round(s, training, validation, model, settings, divided, parallel),
            state,
        )

    def members(state: TrainState, given: tuple[SiitProblem, SiitProblem, Array]) -> TrainState:
        # One member after the other on each CPU: matrix products with an axis of members take far
        # longer there, even with a single member.
        if jax.default_backend() == "cpu":
            return jax.lax.map(lambda s: member(s, given), state)
        parallel = n_cases * len(state.round)
        return jax.vmap(lambda s: member(s, given, parallel))(state)

    given = (training, validation, until)
    if mesh is None:
        return members(state, given)
    spread, copied = PartitionSpec(POPULATION), PartitionSpec()
    return jax.shard_map(
        members, mesh=mesh, in_specs=(spread, copied), out_specs=spread, check_vma=False
    )(state, given)


def _round(
    state: TrainState,
    training: SiitProblem,
    validation: SiitProblem,
    model: TransformerConfig | Network,
    settings: SiitConfig,
    divided: bool,
    parallel: int,
) -> TrainState:
    rates = state.rates
    if settings.patches == "edges":
        edges, again, key = _focused(state, training, validation, model, settings, divided)
        step = _edge_step(edges, again, rates.weights, model, settings, divided)
    else:
        key, step = state.key, _node_step(training, rates.weights, model, settings, divided)

    def batch_step(index: Array, carry: tuple) -> tuple:
        params, optimizer_state, key, total = carry
        key, batch_key = jax.random.split(key)
        learning_rate = _learning_rate(state, index, settings)
        params, optimizer_state, losses = step(params, optimizer_state, batch_key, learning_rate)
        return params, optimizer_state, key, total + losses

    n_batches: Array | int = settings.round_batches
    if settings.max_batches % n_batches:  # else the number is static: `vmap` needs no select
        left = settings.max_batches - state.round * settings.round_batches
        n_batches = jnp.minimum(left, settings.round_batches)
    carry = (state.params, state.optimizer_state, key, jnp.zeros(3))
    params, optimizer_state, key, total = jax.lax.fori_loop(0, n_batches, batch_step, carry)
    losses = total / n_batches
    # Losses are computed before each step, so only this sees the weights after the last step.
    scores, finite = scores_and_finiteness(
        params, model, validation, parallel=parallel, threshold=rates.threshold
    )
    worst = worst_that_counts(scores, rates.weights)
    if divided:  # all replicas must stop together, even if their rounding differs
        worst, finite = jax.lax.pmin(worst, DATA), jax.lax.pmin(finite.astype(jnp.int32), DATA) > 0
    seen = History(losses, scores)
    history = jax.tree.map(lambda rows, row: rows.at[state.round].set(row), state.history, seen)
    diverged = ~(jnp.isfinite(losses).all() & finite)
    better = (worst >= state.best_score) & ~diverged  # of equal rounds the last: rates fall
    _, plateau_state = plateau(settings).update({}, state.plateau_state, value=1 - worst)
    return TrainState(
        params=params,
        optimizer_state=optimizer_state,
        plateau_state=plateau_state,
        key=key,
        rates=rates,
        round=state.round + 1,
        done=(worst >= rates.threshold) | diverged,
        diverged=diverged,
        best_params=jax.tree.map(
            lambda new, old: jnp.where(better, new, old), params, state.best_params
        ),
        best_score=jnp.where(better, worst, state.best_score),
        history=history,
    )


def _focused(
    state: TrainState,
    training: SiitProblem,
    validation: SiitProblem,
    model: TransformerConfig | Network,
    settings: SiitConfig,
    divided: bool,
) -> tuple[EdgeSets, RowsAgain | None, Array]:
    """The sets that a round draws from, the rows that it draws again, and a key for its batches.

    While refining, sets and rows on which the model is wrong are drawn more often.
    """
    key, edges, again = state.key, training.edges, None
    if edges is None:
        raise ValueError("patches='edges' needs a problem with `edges`: see `draw_edge_sets`")
    refines = state.round * settings.round_batches >= settings.max_batches - settings.refine_batches
    if settings.row_focus:
        key, survey_key = jax.random.split(key)
        rows, wrong = wrong_by_row(
            state.params,
            model,
            edges,
            survey_key,
            n_batches=settings.round_batches,
            batch_size=settings.batch_size,
            outside_rows=settings.outside_rows,
            single_rows=settings.single_rows,
        )
        if divided:  # all replicas must draw the same rows
            wrong = jax.lax.pmean(wrong, DATA)
        again = RowsAgain(rows, wrong, jnp.where(refines, settings.row_focus, 0.0))
    if settings.set_focus:
        key, survey_key = jax.random.split(key)
        wrong = wrong_by_set(
            state.params, model, edges, survey_key, rows_at_once=settings.batch_size
        )
        if divided:  # all replicas must draw the same sets
            wrong = jax.lax.pmean(wrong, DATA)
        share = jnp.where(refines, settings.set_focus, 0.0)
        edges = edges._replace(several=by_errors(edges.several, wrong, share))
    if settings.single_focus and validation.checks is not None:
        agreed = state.history.scores.edges[state.round - 1]  # NaN before the first round
        share = jnp.where(refines, settings.single_focus, 0.0)
        edges = focus_on_wrong(edges, validation.checks, agreed, share)
    return edges, again, key


Step = Callable[[Params, optax.OptState, Array, Array], tuple[Params, optax.OptState, Array]]
"""`(params, optimizer state, key, learning rate) -> (params, optimizer state, three losses)`."""


def _node_step(
    training: SiitProblem,
    weights: Float[Array, "3"],
    model: TransformerConfig | Network,
    settings: SiitConfig,
    divided: bool,
) -> Step:
    optimizer, free = directions(settings), training.free_nodes.sum(0)

    def step(params: Params, state: optax.OptState, key: Array, rate: Array) -> tuple:
        batch = draw_batch(
            training,
            key,
            batch_size=settings.batch_size,
            strict_sampling=settings.strict_sampling,
            variable_sampling=settings.variable_sampling,
        )
        return update(
            params,
            state,
            own_part(batch) if divided else batch,
            free,
            weights,
            rate,
            model=model,
            optimizer=optimizer,
            steps=settings.steps,
            outside=settings.outside,
            source_gradient=settings.source_gradient,
            divided=divided,
        )

    return step


def _edge_step(
    edges: EdgeSets,
    again: RowsAgain | None,
    weights: Float[Array, "3"],
    model: TransformerConfig | Network,
    settings: SiitConfig,
    divided: bool,
) -> Step:
    optimizer = directions(settings)

    def step(params: Params, state: optax.OptState, key: Array, rate: Array) -> tuple:
        batch = draw_edge_batch(
            edges,
            key,
            batch_size=settings.batch_size,
            outside_rows=settings.outside_rows,
            single_rows=settings.single_rows,
            again=again,
        )
        return update_by_edges(
            params,
            state,
            own_rows(batch) if divided else batch,
            weights,
            rate,
            model=model,
            optimizer=optimizer,
            divided=divided,
        )

    return step


def _learning_rate(state: TrainState, index: Array, settings: SiitConfig) -> Float[Array, ""]:
    """The learning rate of one batch of the round, by the schedule."""
    start, end = state.rates.learning_rate, state.rates.final_learning_rate
    if settings.schedule == "constant":
        return start
    if settings.schedule == "plateau":
        return start * state.plateau_state.scale
    batch = state.round * settings.round_batches + index
    first = settings.max_batches - settings.refine_batches
    share = batch / max(first - 1, 1)
    if settings.refine_batches:
        refining = batch >= first
        start = jnp.where(refining, _REFINING_RATE * start, start)
        length = settings.refine_batches // settings.refine_stages
        share = jnp.where(refining, (batch - first) % length / max(length - 1, 1), share)
    return start + share * (end - start)
