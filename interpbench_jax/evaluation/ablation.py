"""Ablations: the values that replace a node's output, as the source of a patch."""

import functools
from typing import Literal, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from interpbench_jax.model import Params, TransformerConfig
from interpbench_jax.model.network import Network, as_network

Ablation = Literal["resample", "mean", "mean_per_position", "zero"]
"""The value that replaces a node's output: its value on another input, its mean, its mean at each
position, or zero."""

ABLATIONS: tuple[Ablation, ...] = get_args(Ablation)
"""Names of all ablations of a node."""


def ablation_source(
    writers: Float[Array, "batch pos writer d_model"],
    kind: Ablation,
    position_weights: Float[Array, "batch pos"],
) -> Float[Array, "batch pos writer d_model"]:
    """The replacement of each writer.

    Args:
      writers: the writers' outputs on the inputs from which replacements are taken.
      kind: `resample` uses these outputs, `mean` their mean over inputs and positions,
        `mean_per_position` their mean over inputs, `zero` zeros.
      position_weights: weight of each position. Means are over positions with a weight other than
        0, which excludes BOS and padding. At positions where no input has a weight, such as BOS,
        `mean_per_position` averages over all inputs with a weight at some position.

    Raises:
      ValueError: `kind` has another value.
    """
    if kind == "resample":
        return writers
    where = averaged_positions(kind, position_weights)[:, :, None, None]
    if kind == "mean":
        replacement = writers.mean((0, 1), keepdims=True, where=where)
    elif kind == "mean_per_position":
        replacement = writers.mean(0, keepdims=True, where=where)
    elif kind == "zero":
        replacement = jnp.zeros((1, 1, 1, 1))
    else:
        raise ValueError(f"unknown ablation {kind!r}; known: {', '.join(ABLATIONS)}")
    return jnp.broadcast_to(replacement, writers.shape)


def averaged_positions(
    kind: Ablation, position_weights: Float[Array, "batch pos"]
) -> Bool[Array, "batch pos"]:
    """The positions that a mean includes; see `ablation_source`."""
    counted = position_weights != 0
    if kind == "mean_per_position":
        inputs = counted.any(1, keepdims=True)  # other rows only fill the batch
        return counted | (~counted.any(0, keepdims=True) & inputs)
    return counted


@functools.partial(jax.jit, static_argnames="network")
def reference_run(
    params: Params, network: TransformerConfig | Network, tokens: Int[Array, "batch pos"]
) -> tuple[Float[Array, "batch pos d_vocab_out"], Float[Array, "batch pos writer d_model"]]:
    """`forward` on the inputs that provide replacements, compiled once for all ablations."""
    return as_network(network).run(params, tokens)
