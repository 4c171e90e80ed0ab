"""The state of a training run between two rounds, for every member of a population."""

import functools
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from interpbench_jax.model import Params, TransformerConfig
from interpbench_jax.model.network import Network, as_network
from interpbench_jax.siit.config import SiitConfig
from interpbench_jax.siit.members import VARIED, Member
from interpbench_jax.siit.optimizer import make_optimizer
from interpbench_jax.siit.problem import SiitProblem
from interpbench_jax.siit.validation import Scores

# Settings that the compiled loop does not read.
_OF_DATA = (
    *("same_size", "d_model", "min_length", "n_pairs", "held_out", "validation_pairs"),
    *("position_rows", "edge_rows", "checked_sets", "checked_pairs"),
)
_UNUSED: dict[str, Any] = {
    field.name: field.default
    for field in fields(SiitConfig)
    if field.name in (*VARIED, "threshold", *_OF_DATA)
}


class History(NamedTuple):
    """Losses and scores of every round; rows after the last round are NaN.

    Attributes:
      losses: behaviour, IIT and strict loss, averaged over the round.
      scores: scores on the validation pairs after the round.
    """

    losses: Float[Array, "round 3"]
    scores: Scores


class Rates(NamedTuple):
    """The settings that are array inputs of the compiled loop: changing them does not recompile.

    Attributes:
      weights: weights of the behaviour, IIT and strict loss.
      learning_rate: the learning rate at the start.
      final_learning_rate: the learning rate at the last batch in the linear schedule.
      threshold: the worst score at which training stops.
    """

    weights: Float[Array, "3"]
    learning_rate: Float[Array, ""]
    final_learning_rate: Float[Array, ""]
    threshold: Float[Array, ""]


class TrainState(NamedTuple):
    """Everything that a run needs to continue; every array has a leading axis over members.

    Attributes:
      params: current weights.
      optimizer_state: state of the optimizer.
      plateau_state: state of the plateau schedule; unused by others.
      key: random key from which the next batches are drawn.
      rates: the member's loss weights and learning rates.
      round: number of finished rounds.
      done: every score that counts has reached the threshold, or the member has diverged, or the
        run ended because another member reached the threshold.
      diverged: a loss or an output was not finite in some run; the weights are those of the best
        round before.
      best_params: weights after the best round so far; of equally good rounds, the last.
      best_score: the worst of that round's scores.
      history: losses and scores of all rounds so far.
    """

    params: Params
    optimizer_state: optax.OptState
    plateau_state: optax.OptState
    key: Array
    rates: Rates
    round: Int[Array, ""]
    done: Bool[Array, ""]
    diverged: Bool[Array, ""]
    best_params: Params
    best_score: Float[Array, ""]
    history: History


def static_settings(config: SiitConfig) -> SiitConfig:
    """The settings on which the compiled loop depends; all others have their defaults.

    The others are array inputs of the loop (`Rates`), or only matter when data are drawn. Runs that
    differ in nothing else share a compiled program.
    """
    return replace(config, **_UNUSED)


def directions(config: SiitConfig) -> optax.GradientTransformation:
    """Computes directions; the step scales them by the learning rate."""
    return make_optimizer(
        config.optimizer, clip_norm=config.clip_norm, beta1=config.beta1, beta2=config.beta2
    )


def plateau(config: SiitConfig) -> optax.GradientTransformationExtraArgs:
    """Cuts its scale when scores stop rising."""
    return optax.contrib.reduce_on_plateau(
        factor=config.plateau_factor, patience=config.plateau_patience
    )


def init_states(
    members: Sequence[Member], problem: SiitProblem, model: TransformerConfig | Network
) -> TrainState:
    """The initial state of members.

    Args:
      members: their seeds and rates.
      problem: the validation problem; only its numbers of variables, free nodes and checks matter.
      model: shape of the model to train.

    Raises:
      ValueError: members differ in a setting that cannot vary, or `outside` is `freeze` and the
        network is not a transformer.
    """
    frozen = [member for member in members if member.config.outside == "freeze"]
    if frozen and not isinstance(model, TransformerConfig):
        raise ValueError(
            f"outside='freeze' works for transformers only, not for {type(model).__name__}"
        )
    first, *others = [static_settings(member.config) for member in members]
    for name in (field.name for field in fields(SiitConfig)):
        if len(values := {getattr(config, name) for config in (first, *others)}) > 1:
            raise ValueError(
                f"members must have the same static settings, got {sorted(values)} for {name}"
            )
    keys = jnp.stack([jax.random.key(member.seed) for member in members])
    each = [_rates(member.config) for member in members]
    rates = jax.tree.map(lambda *values: jnp.stack(values), *each)
    counts = (
        len(problem.variable_nodes),
        len(problem.free_nodes),
        0 if problem.checks is None else len(problem.checks.which),
    )
    return _init_states(keys, rates, counts, model=model, settings=first)


def _rates(config: SiitConfig) -> Rates:
    weights = config.behaviour_weight, config.iit_weight, config.strict_weight
    others = config.learning_rate, config.final_learning_rate, config.threshold
    return Rates(*(jnp.array(value, jnp.float32) for value in (weights, *others)))


@functools.partial(jax.jit, static_argnames=("n_scores", "model", "settings"))
def _init_states(
    keys: Array,
    rates: Rates,
    n_scores: tuple[int, int, int],
    *,
    model: TransformerConfig | Network,
    settings: SiitConfig,
) -> TrainState:
    def unseen(*shape: int) -> Array:
        return jnp.full((settings.n_rounds, *shape), jnp.nan, jnp.float32)

    def member(key: Array, rates: Rates) -> TrainState:
        init_key, loop_key = jax.random.split(key)
        params = as_network(model).init(init_key)
        return TrainState(
            params=params,
            optimizer_state=directions(settings).init(params),
            plateau_state=plateau(settings).init({}),
            key=loop_key,
            rates=rates,
            round=jnp.zeros((), jnp.int32),
            done=jnp.zeros((), bool),
            diverged=jnp.zeros((), bool),
            best_params=params,
            best_score=jnp.full((), -1, jnp.float32),
            history=History(unseen(3), Scores(unseen(), *map(unseen, n_scores))),
        )

    return jax.vmap(member)(keys, rates)
