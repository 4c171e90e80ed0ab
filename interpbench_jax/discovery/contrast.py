"""Puts together what methods work on."""

from collections.abc import Sequence
from typing import cast, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Num

from interpbench_jax.discovery.objective import ContrastBatch, Loss
from interpbench_jax.discovery.optimal_ablation import optimal_source
from interpbench_jax.evaluation import Ablation, ablation_source
from interpbench_jax.model import Params, TransformerConfig
from interpbench_jax.model.network import EdgeNetwork, as_edge_network

DISCOVERY_ABLATIONS: tuple[str, ...] = (*get_args(Ablation), "optimal")


def contrast_batch(
    params: Params,
    config: TransformerConfig | EdgeNetwork,
    clean: Int[Array, "batch pos"],
    corrupted: Int[Array, "batch pos"] | None,
    target: Num[Array, "batch pos"],
    positions: Float[Array, "batch pos"],
    *,
    ablation: str = "resample",
    loss: Loss | None = None,
) -> ContrastBatch:
    """Runs the model on clean and corrupted inputs once, and says what ablation puts in.

    Args:
      params: weights.
      config: their shape, or another network.
      clean: token ids.
      corrupted: token ids of the input from which patches come, row by row; means are over these.
        `None` is for ablations that need none: means are over the clean inputs then.
      target: what is right on the clean input: labels, or values for a regression.
      positions: weight of each position in the loss.
      ablation: `resample` patches from the corrupted input, `mean` from the mean over inputs and
        positions, `mean_per_position` over inputs, `zero` removes, `optimal` takes the constant
        that costs least.
      loss: what `optimal` constants are to minimise.

    Raises:
      ValueError: shapes do not fit one another, or what the ablation needs is missing. Outside of
        `jit`: a token is none of a transformer's vocabulary, or what the ablation puts in is NaN.
    """
    for name, given in (("corrupted", corrupted), ("target", target), ("positions", positions)):
        if given is not None and given.shape != clean.shape:
            raise ValueError(
                f"{name} has shape {given.shape}, expected that of clean: {clean.shape}"
            )
    if ablation not in DISCOVERY_ABLATIONS:
        known = ", ".join(DISCOVERY_ABLATIONS)
        raise ValueError(f"unknown ablation {ablation!r}; known: {known}")
    if corrupted is None and ablation == "resample":
        raise ValueError("resample ablation needs corrupted inputs to patch from, got none")
    if loss is None and ablation == "optimal":
        raise ValueError("optimal ablation needs the loss that its constants minimise, got none")
    if isinstance(config, TransformerConfig):
        _check_tokens("clean", clean, config.d_vocab)
        if corrupted is not None:
            _check_tokens("corrupted", corrupted, config.d_vocab)
    network = as_edge_network(config)
    clean_logits, written = network.run(params, clean)
    there = written if corrupted is None else network.run(params, corrupted)[1]
    kind = "mean" if ablation == "optimal" else cast(Ablation, ablation)
    source = ablation_source(there, kind)
    batch = ContrastBatch(
        clean, corrupted, target, clean_logits, jnp.asarray(positions), written, source
    )
    if ablation == "optimal" and loss is not None:
        batch = batch._replace(source=optimal_source(params, config, batch, loss))
    _check_source(batch.source, ablation, network.graph.writers)
    return batch


def _check_tokens(name: str, tokens: Int[Array, "batch pos"], d_vocab: int) -> None:
    """Lookups in JAX take the nearest row instead of a missing one."""
    if isinstance(tokens, jax.core.Tracer):
        return
    given = np.asarray(tokens)
    unknown = given[(given < 0) | (given >= d_vocab)]
    if unknown.size:
        raise ValueError(f"{name} has token {unknown[0]}, expected one of the {d_vocab} from 0")


def _check_source(
    source: Float[Array, "batch pos writer d_model"], ablation: str, writers: Sequence[str]
) -> None:
    missing = jnp.isnan(source).any((0, 1, 3))
    if not isinstance(missing, jax.core.Tracer) and missing.any():
        first = writers[int(missing.argmax())]
        raise ValueError(
            f"{ablation} ablation puts in NaN for {first}: the model or the loss gave it"
        )
