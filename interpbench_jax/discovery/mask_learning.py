"""The training loop of methods that learn masks, for several settings at once."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PyTree

from interpbench_jax.discovery.batch import ContrastBatch, Loss
from interpbench_jax.discovery.rows import take_rows
from interpbench_jax.model import Params, TransformerConfig
from interpbench_jax.model.network import Network


class Learning(NamedTuple):
    """Settings of mask learning.

    Attributes:
      steps: number of steps of Adam.
      learning_rate: learning rate of Adam.
      batch_size: rows drawn for each step. More rows take longer in proportion; on bundled models,
        all of 200 rows led to the same rankings as 64.
    """

    steps: int = 300
    learning_rate: float = 0.1
    batch_size: int = 64


LEARNING = Learning()
"""Default settings."""


class LearntMasks(NamedTuple):
    """Learnt masks per setting (a weight of the penalty, or a target size).

    Attributes:
      kept: probability that each edge or writer is kept, `[setting, writer, reader]` or `[setting,
        writer]`.
      losses: loss of the masked model at each step, without the penalty.
      sizes: expected share kept at each step.
    """

    kept: Float[Array, "..."]
    losses: Float[Array, "setting step"]
    sizes: Float[Array, "setting step"]


def learn_masks(
    objective: Callable[[PyTree, Array, ContrastBatch, Array], tuple[Array, tuple[Array, Array]]],
    start: PyTree,
    settings: Float[Array, " setting"] | Float[Array, "setting step"],
    batch: ContrastBatch,
    key: Array,
    learning: Learning,
    *,
    ascend: Callable[[PyTree], PyTree] = lambda gradient: gradient,
) -> tuple[PyTree, Float[Array, "setting step"], Float[Array, "setting step"]]:
    """Minimises an objective over mask parameters, for every setting of a sweep in one program.

    Args:
      objective: `(mask parameters, key, rows, setting) -> (objective, (loss, size))`.
      start: parameters to start from, the same for all settings.
      settings: one number per setting, for all steps or for each step.
      batch: inputs to draw rows from.
      key: a JAX random key. All settings draw the same random numbers, so the results differ only
        by the setting, and do not depend on the other settings.
      learning: steps, rate, rows.
      ascend: changes gradients, for example of parameters that are maximised.

    Returns:
      The parameters per setting, and for each step the loss and the share kept.

    Raises:
      ValueError: a number of `learning` is not positive.
    """
    for name, value in learning._asdict().items():
        if value <= 0:
            raise ValueError(f"{name} must be positive, got {value}")
    optimizer = optax.adam(learning.learning_rate)
    n_rows = batch.clean.shape[0]
    counted = (batch.positions > 0).any(1)  # other rows only fill the batch
    counted_first, n_counted = jnp.argsort(~counted, stable=True), counted.sum()

    def learn(setting: Float[Array, " #step"]) -> tuple[PyTree, Array, Array]:
        def step(state: tuple, given: tuple[Array, Array]) -> tuple[tuple, tuple[Array, Array]]:
            (masks, adam), (key, now) = state, given
            for_rows, for_mask = jax.random.split(key)
            if learning.batch_size < n_rows:
                chosen = jax.random.randint(for_rows, (learning.batch_size,), 0, n_counted)
                rows = take_rows(batch, counted_first[chosen])
            else:
                rows = batch
            gradient, loss_and_size = jax.grad(objective, has_aux=True)(masks, for_mask, rows, now)
            update, adam = optimizer.update(ascend(gradient), adam)
            return (optax.apply_updates(masks, update), adam), loss_and_size

        over = jax.random.split(key, learning.steps), jnp.broadcast_to(setting, learning.steps)
        (masks, _), (losses, sizes) = jax.lax.scan(step, (start, optimizer.init(start)), over)
        return masks, losses, sizes

    settings = settings.reshape(len(settings), -1)
    if jax.default_backend() == "cpu":  # a loop is fastest there
        return jax.lax.map(learn, settings)
    return jax.vmap(learn)(settings)


def mean_kept(
    learn: Callable[..., LearntMasks],
    params: Params,
    network: TransformerConfig | Network,
    batch: ContrastBatch,
    loss: Loss,
    penalties: tuple[float, ...],
    learning: Learning,
    key: Array | None,
) -> Float[Array, "writer ..."]:
    """The probability that each edge or writer is kept, averaged over weights of the penalty.

    Args:
      learn: learns a mask for every weight, as `probe_edges` does.
      params: weights.
      network: a transformer's shape, or another network.
      batch: inputs and the source of patches.
      loss: `(logits, batch) -> scalar`.
      penalties: weights of the penalty.
      learning: steps, rate, rows per step.
      key: a JAX random key; by default the key of seed 0.

    Raises:
      ValueError: as `ascending` and `learn`.
    """
    key = jax.random.key(0) if key is None else key
    weights = ascending("penalties", penalties)
    return learn(params, network, batch, loss, weights, key, learning).kept.mean(0)


def ascending(name: str, values: tuple[float, ...]) -> Float[Array, " setting"]:
    """Settings of a sweep as an array.

    Raises:
      ValueError: there are none, or they are not positive, distinct and ascending.
    """
    if not values or list(values) != sorted(set(values)) or values[0] <= 0:
        raise ValueError(f"{name} must be positive, ascending and distinct, got {values}")
    return jnp.array(values)
