"""The training loop: sample, step, validate, stop early, all in one compiled function.

The loop is a `while_loop` over rounds, so it can be left after any round and entered again:
progress, checkpoints and interrupts live outside, on the host, and cost one call per round. Seeds
are a `vmap` axis; a member that is done stops changing.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from interpbench_jax.model import Params, TransformerConfig, init_params
from interpbench_jax.siit.config import SiitConfig, Steps, StrictSampling
from interpbench_jax.siit.problem import SiitProblem
from interpbench_jax.siit.step import draw_batch, make_optimizer, update
from interpbench_jax.siit.validation import Scores, validate


class History(NamedTuple):
    """What was seen after every round; rows past the last round are NaN.

    Attributes:
      losses: behaviour, IIT and strict, mean over the round.
      scores: on the validation pairs.
    """

    losses: Float[Array, "round 3"]
    scores: Scores


class TrainState(NamedTuple):
    """Everything a run needs to go on.

    Attributes:
      params: current weights.
      optimizer_state: of Adam.
      key: from which the next batches are drawn.
      round: rounds finished.
      done: every score has reached the threshold, or a loss is no longer finite.
      best_params: weights after the best round so far.
      best_score: the worst of that round's scores.
      history: of all rounds so far.
    """

    params: Params
    optimizer_state: optax.OptState
    key: Array
    round: Int[Array, ""]
    done: Bool[Array, ""]
    best_params: Params
    best_score: Float[Array, ""]
    history: History


class _Rates(NamedTuple):
    """The settings that are numbers to the compiled loop: changing them does not recompile."""

    weights: Float[Array, "3"]
    learning_rate: Float[Array, ""]
    final_learning_rate: Float[Array, ""]
    threshold: Float[Array, ""]


class _Loop(NamedTuple):
    """The settings that shape the compiled loop."""

    steps: Steps
    strict_sampling: StrictSampling
    batch_size: int
    round_batches: int
    n_rounds: int
    clip_norm: float
    beta1: float
    beta2: float


class TrainResult(NamedTuple):
    """What training returns; every array has a leading axis over seeds.

    Attributes:
      params: weights after each member's best round.
      scores: of these weights on all pairs held out.
      history: per round.
      rounds: how many rounds each member took.
    """

    params: Params
    scores: Scores
    history: History
    rounds: Int[Array, " seed"]


OnRound = Callable[[TrainState], None]


def train_siit(
    problem: SiitProblem,
    model: TransformerConfig,
    config: SiitConfig,
    *,
    seeds: tuple[int, ...] = (0,),
    on_round: OnRound | None = None,
) -> TrainResult:
    """Trains one model per seed until all scores reach the threshold or batches run out.

    Args:
      problem: pairs, targets and aligned nodes.
      model: shape of the model to train.
      config: settings.
      seeds: each gives initial weights and an order of batches.
      on_round: called with the state (leading axis: seeds) after every round.

    Source: Gupta et al. 2024, InterpBench, section 3.
    """
    training, held_out = problem.split(config.held_out)
    validation = held_out.take(slice(config.validation_pairs))
    keys = jnp.stack([jax.random.key(seed) for seed in seeds])
    state = init_states(keys, problem, model, config)
    while not finished(state, config):
        state = advance(state, training, validation, model=model, config=config)
        if on_round is not None:
            on_round(state)
    scores = jax.vmap(lambda params: validate(params, model, held_out))(state.best_params)
    return TrainResult(state.best_params, scores, state.history, state.round)


def init_states(
    keys: Array, problem: SiitProblem, model: TransformerConfig, config: SiitConfig
) -> TrainState:
    """Fresh members, one per key."""
    counts = len(problem.variable_nodes), len(problem.free_nodes)
    return _init_states(keys, counts, model=model, loop=_loop(config))


def finished(state: TrainState, config: SiitConfig) -> bool:
    """Whether every member is done or has used up its rounds."""
    return bool((state.done | (state.round >= config.n_rounds)).all())


def advance(
    state: TrainState,
    training: SiitProblem,
    validation: SiitProblem,
    *,
    model: TransformerConfig,
    config: SiitConfig,
    rounds: int = 1,
) -> TrainState:
    """Trains every member for some rounds, or until it is done.

    Compiled once per model shape, problem shape and the settings that shape the loop; `rounds`,
    rates, weights and threshold are data.
    """
    until = jnp.minimum(state.round.max() + rounds, config.n_rounds)
    rates = _Rates(
        jnp.array([config.behaviour_weight, config.iit_weight, config.strict_weight]),
        jnp.array(config.learning_rate),
        jnp.array(config.final_learning_rate),
        jnp.array(config.threshold),
    )
    return _advance(state, training, validation, rates, until, model=model, loop=_loop(config))


def _loop(config: SiitConfig) -> _Loop:
    shared = {name: getattr(config, name) for name in _Loop._fields}
    return _Loop(**shared)


@functools.partial(jax.jit, static_argnames=("n_nodes", "model", "loop"))
def _init_states(
    keys: Array, n_nodes: tuple[int, int], *, model: TransformerConfig, loop: _Loop
) -> TrainState:
    def unseen(*shape: int) -> Array:
        return jnp.full((loop.n_rounds, *shape), jnp.nan, jnp.float32)

    def member(key: Array) -> TrainState:
        init_key, loop_key = jax.random.split(key)
        params = init_params(model, init_key)
        n_variables, n_free = n_nodes
        return TrainState(
            params=params,
            optimizer_state=_optimizer(loop).init(params),
            key=loop_key,
            round=jnp.zeros((), jnp.int32),
            done=jnp.zeros((), bool),
            best_params=params,
            best_score=jnp.full((), -1, jnp.float32),
            history=History(unseen(3), Scores(unseen(), unseen(n_variables), unseen(n_free))),
        )

    return jax.vmap(member)(keys)


def _optimizer(loop: _Loop) -> optax.GradientTransformation:
    return make_optimizer(clip_norm=loop.clip_norm, beta1=loop.beta1, beta2=loop.beta2)


@functools.partial(jax.jit, static_argnames=("model", "loop"))
def _advance(
    state: TrainState,
    training: SiitProblem,
    validation: SiitProblem,
    rates: _Rates,
    until: Array,
    *,
    model: TransformerConfig,
    loop: _Loop,
) -> TrainState:
    def member(state: TrainState) -> TrainState:
        return jax.lax.while_loop(
            lambda s: (s.round < until) & ~s.done,
            lambda s: _round(s, training, validation, rates, model, loop),
            state,
        )

    return jax.vmap(member)(state)


def _round(
    state: TrainState,
    training: SiitProblem,
    validation: SiitProblem,
    rates: _Rates,
    model: TransformerConfig,
    loop: _Loop,
) -> TrainState:
    optimizer = _optimizer(loop)
    n_batches = loop.n_rounds * loop.round_batches
    first = state.round * loop.round_batches

    def batch_step(carry: tuple, index: Array) -> tuple[tuple, Array]:
        params, optimizer_state, key = carry
        key, batch_key = jax.random.split(key)
        batch = draw_batch(
            training,
            batch_key,
            batch_size=loop.batch_size,
            strict_sampling=loop.strict_sampling,
        )
        share = (first + index) / max(n_batches - 1, 1)
        rate = rates.learning_rate + share * (rates.final_learning_rate - rates.learning_rate)
        params, optimizer_state, losses = update(
            params,
            optimizer_state,
            batch,
            rates.weights,
            rate,
            model=model,
            optimizer=optimizer,
            steps=loop.steps,
        )
        return (params, optimizer_state, key), losses

    carry = (state.params, state.optimizer_state, state.key)
    (params, optimizer_state, key), losses = jax.lax.scan(
        batch_step, carry, jnp.arange(loop.round_batches)
    )
    scores = validate(params, model, validation)
    seen = History(losses.mean(0), scores)
    history = jax.tree.map(lambda rows, row: rows.at[state.round].set(row), state.history, seen)
    better = scores.worst() > state.best_score
    return TrainState(
        params=params,
        optimizer_state=optimizer_state,
        key=key,
        round=state.round + 1,
        done=(scores.worst() >= rates.threshold) | ~jnp.isfinite(losses).all(),
        best_params=jax.tree.map(
            lambda new, old: jnp.where(better, new, old), params, state.best_params
        ),
        best_score=jnp.where(better, scores.worst(), state.best_score),
        history=history,
    )
