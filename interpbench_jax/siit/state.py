"""The state of a training run between two rounds, for every member of a population."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from interpbench_jax.model import Params, TransformerConfig
from interpbench_jax.model.network import Network, as_network
from interpbench_jax.siit.config import (
    Outside,
    Patches,
    Schedule,
    SiitConfig,
    Steps,
    StrictSampling,
    VariableSampling,
)
from interpbench_jax.siit.members import Member
from interpbench_jax.siit.optimizer import Optimizer, make_optimizer
from interpbench_jax.siit.problem import SiitProblem
from interpbench_jax.siit.validation import Scores


class History(NamedTuple):
    """Losses and scores of every round; rows after the last round are NaN.

    Attributes:
      losses: behaviour, IIT and strict loss, averaged over the round.
      scores: scores on the validation pairs after the round.
    """

    losses: Float[Array, "round 3"]
    scores: Scores


class Rates(NamedTuple):
    """The settings that are array inputs of the compiled loop: changing them does not recompile."""

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


class Loop(NamedTuple):
    """The static settings of the compiled loop; the same for all members."""

    patches: Patches
    outside_rows: float
    single_rows: float
    single_focus: float
    set_focus: float
    steps: Steps
    strict_sampling: StrictSampling
    variable_sampling: VariableSampling
    outside: Outside
    source_gradient: bool
    schedule: Schedule
    plateau_factor: float
    plateau_patience: int
    batch_size: int
    round_batches: int
    max_batches: int
    refine_batches: int
    refine_stages: int
    n_rounds: int
    optimizer: Optimizer
    clip_norm: float
    beta1: float
    beta2: float

    @classmethod
    def of(cls, config: SiitConfig) -> "Loop":
        """Selects these settings from all settings."""
        return cls(**{name: getattr(config, name) for name in cls._fields})

    def directions(self) -> optax.GradientTransformation:
        """Computes directions; the step scales them by the learning rate."""
        return make_optimizer(
            self.optimizer, clip_norm=self.clip_norm, beta1=self.beta1, beta2=self.beta2
        )

    def plateau(self) -> optax.GradientTransformationExtraArgs:
        """Cuts its scale when scores stop rising."""
        return optax.contrib.reduce_on_plateau(
            factor=self.plateau_factor, patience=self.plateau_patience
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
    loops = {Loop.of(member.config) for member in members}
    if len(loops) != 1:
        raise ValueError(f"members must have the same static settings, got {sorted(loops)}")
    keys = jnp.stack([jax.random.key(member.seed) for member in members])
    each = [_rates(member.config) for member in members]
    rates = jax.tree.map(lambda *values: jnp.stack(values), *each)
    counts = (
        len(problem.variable_nodes),
        len(problem.free_nodes),
        0 if problem.checks is None else len(problem.checks.which),
    )
    return _init_states(keys, rates, counts, model=model, loop=loops.pop())


def _rates(config: SiitConfig) -> Rates:
    weights = config.behaviour_weight, config.iit_weight, config.strict_weight
    others = config.learning_rate, config.final_learning_rate, config.threshold
    return Rates(*(jnp.array(value, jnp.float32) for value in (weights, *others)))


@functools.partial(jax.jit, static_argnames=("n_scores", "model", "loop"))
def _init_states(
    keys: Array,
    rates: Rates,
    n_scores: tuple[int, int, int],
    *,
    model: TransformerConfig | Network,
    loop: Loop,
) -> TrainState:
    def unseen(*shape: int) -> Array:
        return jnp.full((loop.n_rounds, *shape), jnp.nan, jnp.float32)

    def member(key: Array, rates: Rates) -> TrainState:
        init_key, loop_key = jax.random.split(key)
        params = as_network(model).init(init_key)
        return TrainState(
            params=params,
            optimizer_state=loop.directions().init(params),
            plateau_state=loop.plateau().init({}),
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
