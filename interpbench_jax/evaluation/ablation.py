"""What an ablated node writes instead of its own: the source of a patch."""

import functools
from typing import Literal, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from interpbench_jax.model import Params, TransformerConfig
from interpbench_jax.model.network import Network, as_network

Ablation = Literal["resample", "mean", "mean_per_position", "zero"]
"""What takes the place of what a node wrote: its value on another input, its mean, its mean at each
position, or zero."""

ABLATIONS: tuple[Ablation, ...] = get_args(Ablation)
"""Names of all ablations of a node."""


def ablation_source(
    writers: Float[Array, "batch pos writer d_model"],
    kind: Ablation,
    positions: Float[Array, "batch pos"],
) -> Float[Array, "batch pos writer d_model"]:
    """What each writer is replaced by.

    Args:
      writers: what every writer writes on the inputs that nodes are ablated with.
      kind: `resample` takes it as it is, `mean` its mean over inputs and positions,
        `mean_per_position` its mean over inputs, `zero` nothing.
      positions: which positions count: means are over those whose weight is not 0, which leaves
        out BOS and padding. `mean_per_position` has nothing to average where no input counts, as
        at BOS, and takes the mean over all inputs there.

    Raises:
      ValueError: `kind` is none of these.
    """
    if kind == "resample":
        return writers
    if kind == "resample":
        return writers
    where = averaged_positions(kind, positions)[:, :, None, None]
    if kind == "mean":
        instead = writers.mean((0, 1), keepdims=True, where=where)
    elif kind == "mean_per_position":
        instead = writers.mean(0, keepdims=True, where=where)
    elif kind == "zero":
        instead = jnp.zeros((1, 1, 1, 1))
    else:
        raise ValueError(f"unknown ablation {kind!r}; known: {', '.join(ABLATIONS)}")
    return jnp.broadcast_to(instead, writers.shape)


def averaged_positions(
    kind: Ablation, positions: Float[Array, "batch pos"]
) -> Bool[Array, "batch pos"]:
    """Which positions a mean is over; see `ablation_source`."""
    counted = positions != 0
    if kind == "mean_per_position":
        return counted | ~counted.any(0, keepdims=True)
    return counted


@functools.partial(jax.jit, static_argnames="network")
def reference_run(
    params: Params, network: TransformerConfig | Network, tokens: Int[Array, "batch pos"]
) -> tuple[Float[Array, "batch pos d_vocab_out"], Float[Array, "batch pos writer d_model"]]:
    """`forward` on the inputs that nodes are ablated with, compiled once for all ablations."""
    return as_network(network).run(params, tokens)
