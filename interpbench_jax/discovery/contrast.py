"""Builds the batch that discovery methods run on."""

import math
from collections.abc import Sequence
from typing import cast, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Num

from interpbench_jax.discovery.batch import ContrastBatch, Loss
from interpbench_jax.discovery.optimal_ablation import optimal_source
from interpbench_jax.discovery.rows import Part, map_rows, sum_over_rows
from interpbench_jax.evaluation import Ablation, ablation_source
from interpbench_jax.evaluation.ablation import averaged_positions
from interpbench_jax.model import DecoderConfig, Params, TransformerConfig
from interpbench_jax.model.indices import check_indices, check_same_lengths
from interpbench_jax.model.network import Network, as_network

MOST_HELD = 2**28
"""A gibibyte of float32 for the clean outputs, and another for the source of patches."""

DISCOVERY_ABLATIONS: tuple[str, ...] = (*get_args(Ablation), "optimal")
"""Names of ablations: those of `evaluation.ABLATIONS`, and `optimal` for learnt constants."""


def contrast_batch(
    params: Params,
    network: TransformerConfig | Network,
    clean: Int[Array, "batch pos"],
    corrupted: Int[Array, "batch pos"] | None,
    target: Num[Array, "batch pos"],
    positions: Float[Array, "batch pos"],
    *,
    ablation: str = "resample",
    loss: Loss | None = None,
    most_held: int = MOST_HELD,
    foil: Int[Array | np.ndarray, "batch pos"] | None = None,
) -> ContrastBatch:
    """Runs the model on clean and corrupted inputs, and computes the source of patches.

    Args:
      params: weights.
      network: a transformer's shape, or another network.
      clean: token ids.
      corrupted: token ids of the inputs from which patches come, row by row, of the same lengths;
        means are over these. `None` if the ablation needs none: means are then over the clean
        inputs.
      target: the right answers on the clean inputs: labels, or values for a regression.
      positions: weight of each position in the loss.
      ablation: `resample` patches from the corrupted input, `mean` from the mean over inputs and
        positions that count, `mean_per_position` from the mean over inputs whose position counts,
        `zero` from zeros, `optimal` from the constant with the lowest loss.
      loss: the loss that `optimal` constants minimise.
      most_held: the largest number of writer outputs (as float32 numbers) to keep. If there are
        more, the batch has no `written`, and methods compute it when they need it, a chunk of rows
        at a time; the results are the same.
      foil: the wrong label to compare the right one with; see `ContrastBatch`.

    Raises:
      ValueError: shapes do not fit, or an input of the ablation is missing. Outside of `jit` also:
        a token is not in the vocabulary or a label not among the outputs (even at positions that do
        not count); a corrupted input is padded where its clean one is not; no position counts; or
        the source of patches has NaN.
    """
    for name, given in (
        ("corrupted", corrupted),
        ("target", target),
        ("positions", positions),
        ("foil", foil),
    ):
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
    network, positions = as_network(network), jnp.asarray(positions)
    config = getattr(network, "config", None)
    if isinstance(config, TransformerConfig | DecoderConfig):
        check_indices("clean has token", clean, config.d_vocab)
        if corrupted is not None:
            check_indices("corrupted has token", corrupted, config.d_vocab)
            check_same_lengths("corrupted", corrupted, clean, config.pad)
    clean, target = jnp.asarray(clean), jnp.asarray(target)
    corrupted = None if corrupted is None else jnp.asarray(corrupted)
    logits, written = jax.eval_shape(network.run, params, clean)
    if jnp.issubdtype(target.dtype, jnp.integer):
        check_indices("target has label", target, logits.shape[-1])
        if foil is not None:
            check_indices("foil has label", foil, logits.shape[-1])
    kind = "mean" if ablation == "optimal" else cast(Ablation, ablation)
    make = _holding_everything if math.prod(written.shape) <= most_held else _holding_inputs
    batch, missing = make(params, network, clean, corrupted, target, positions, kind)
    batch = batch._replace(foil=None if foil is None else jnp.asarray(foil))
    if ablation == "optimal" and loss is not None:
        source = optimal_source(params, network, batch, loss)
        batch, missing = batch._replace(source=source), jnp.isnan(source).any((0, 1, 3))
    _check_source(missing, ablation, network.graph.writers)
    return batch


def _holding_everything(
    params: Params,
    network: Network,
    clean: Int[Array, "batch pos"],
    corrupted: Int[Array, "batch pos"] | None,
    target: Num[Array, "batch pos"],
    positions: Float[Array, "batch pos"],
    kind: Ablation,
) -> tuple[ContrastBatch, Bool[Array, " writer"]]:
    """The batch, and the writers for which the source of patches has NaN."""
    logits, written = network.run(params, clean)
    replacing = written if corrupted is None else network.run(params, corrupted)[1]
    source = ablation_source(replacing, kind, positions)
    batch = ContrastBatch(clean, corrupted, target, logits, positions, written, source)
    return batch, jnp.isnan(source).any((0, 1, 3))


def _holding_inputs(
    params: Params,
    network: Network,
    clean: Int[Array, "batch pos"],
    corrupted: Int[Array, "batch pos"] | None,
    target: Num[Array, "batch pos"],
    positions: Float[Array, "batch pos"],
    kind: Ablation,
) -> tuple[ContrastBatch, Bool[Array, " writer"]]:
    """The same for a batch whose writer outputs are computed when needed."""
    logits = map_rows(lambda rows: network.run(params, clean[rows])[0], params, network, clean)
    batch = ContrastBatch(clean, corrupted, target, logits, positions, None, None)
    # Sums of writer outputs over the inputs that patches come from, at positions that count.
    counted = averaged_positions(kind, positions).astype(jnp.float32)
    replacing = clean if corrupted is None else corrupted
    inputs = batch._replace(
        clean=replacing, corrupted=None, positions=counted, source=jnp.zeros((1, 1, 1, 1))
    )

    def total(part: Part) -> tuple[Array, Array]:
        here = part.positions[:, :, None, None]
        return jnp.where(here > 0, part.written, 0).sum(0), jnp.isnan(part.written).any((0, 1, 3))

    sums, missing = sum_over_rows(total, params, network, inputs)
    if kind == "resample":
        return batch, missing > 0
    if kind == "zero":
        source = jnp.zeros((1, 1, *sums.shape[1:]))
    elif kind == "mean":
        source = sums.sum(0)[None, None] / counted.sum()
    else:
        source = sums[None] / counted.sum(0)[None, :, None, None]
    return batch._replace(source=source), jnp.isnan(source).any((0, 1, 3))


def _check_source(missing: Bool[Array, " writer"], ablation: str, writers: Sequence[str]) -> None:
    if not isinstance(missing, jax.core.Tracer) and missing.any():
        first = writers[int(missing.argmax())]
        raise ValueError(
            f"{ablation} ablation gives NaN for {first}: the model or the loss returned NaN"
        )
