"""Puts together what methods work on."""

from collections.abc import Sequence
from typing import cast, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Num

from interpbench_jax.discovery.objective import ContrastBatch, Loss
from interpbench_jax.discovery.optimal_ablation import optimal_source
from interpbench_jax.evaluation import Ablation, ablation_source
from interpbench_jax.model import Params, TransformerConfig
from interpbench_jax.model.indices import check_indices, check_same_lengths
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
      corrupted: token ids of the input from which patches come, row by row, of the same lengths;
        means are over these.
        `None` is for ablations that need none: means are over the clean inputs then.
      target: what is right on the clean input: labels, or values for a regression.
      positions: weight of each position in the loss.
      ablation: `resample` patches from the corrupted input, `mean` from the mean over inputs and
        positions that count, `mean_per_position` over inputs whose position counts, `zero` removes,
        `optimal` takes the constant that costs least.
      loss: what `optimal` constants are to minimise.

    Raises:
      ValueError: shapes do not fit one another, or what the ablation needs is missing. Outside of
        `jit`: a token is none of a transformer's vocabulary or a label none of the outputs, at
        positions that do not count as well; a corrupted input is padded where its clean one is not;
        no position counts; or what the ablation puts in is NaN.
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
    if not isinstance(positions, jax.core.Tracer) and not positions.any():
        raise ValueError("positions are all 0, so that no output counts")
    if loss is None and ablation == "optimal":
        raise ValueError("optimal ablation needs the loss that its constants minimise, got none")
    if isinstance(config, TransformerConfig):
        check_indices("clean has token", clean, config.d_vocab)
        if corrupted is not None:
            check_indices("corrupted has token", corrupted, config.d_vocab)
            check_same_lengths("corrupted", corrupted, clean, config.pad)
    network = as_edge_network(config)
    clean_logits, written = network.run(params, clean)
    if jnp.issubdtype(target.dtype, jnp.integer):
        check_indices("target has label", target, clean_logits.shape[-1])
    there = written if corrupted is None else network.run(params, corrupted)[1]
    kind = "mean" if ablation == "optimal" else cast(Ablation, ablation)
    source = ablation_source(there, kind, jnp.asarray(positions))
    batch = ContrastBatch(
        clean, corrupted, target, clean_logits, jnp.asarray(positions), written, source
    )
    if ablation == "optimal" and loss is not None:
        batch = batch._replace(source=optimal_source(params, config, batch, loss))
    _check_source(batch.source, ablation, network.graph.writers)
    return batch


def _check_source(
    source: Float[Array, "batch pos writer d_model"], ablation: str, writers: Sequence[str]
) -> None:
    missing = jnp.isnan(source).any((0, 1, 3))
    if not isinstance(missing, jax.core.Tracer) and missing.any():
        first = writers[int(missing.argmax())]
        raise ValueError(
            f"{ablation} ablation puts in NaN for {first}: the model or the loss gave it"
        )
