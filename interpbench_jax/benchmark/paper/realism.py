"""Realism: whether methods behave on a SIIT model as on a naturally trained one."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from interpbench_jax.benchmark.execution import compiled_model
from interpbench_jax.benchmark.findings import make_contrast
from interpbench_jax.discovery import ContrastBatch, acdc_circuits, removal_order, usual_loss
from interpbench_jax.scoring import PAPER_THRESHOLDS
from interpbench_jax.scoring.circuit_losses import circuit_losses
from interpbench_jax.siit import agreement
from interpbench_jax.zoo import BenchmarkModel, load_model


def realism_rows(case: str, *, n_inputs: int = 1_000) -> list[dict[str, Any]]:
    """Correlates the accuracies of ACDC's circuits, over its thresholds, between models.

    Args:
      case: a case with bundled models.
      n_inputs: number of clean and corrupted inputs.

    Returns:
      A row per model (`natural`, `siit`, `tracr`): accuracy of its circuit at every threshold, and
      the correlation of these with the natural model's; missing if one of them is constant.
    """
    models = {
        "natural": load_model(f"natural/{case}"),
        "siit": load_model(case),
        "tracr": compiled_model(case),
    }
    accuracies = {name: _accuracies(model, n_inputs) for name, model in models.items()}
    natural = accuracies["natural"]
    return [
        {
            "case": case,
            "model": name,
            "accuracies": found.tolist(),
            "correlation": _correlation(found, natural),
        }
        for name, found in accuracies.items()
    ]


def _accuracies(model: BenchmarkModel, n_inputs: int) -> Float[np.ndarray, " threshold"]:
    batch = make_contrast(model, jax.random.key(0), n_inputs=n_inputs)
    kept = acdc_circuits(
        model.params,
        model.config,
        batch,
        usual_loss("acdc", batch.categorical),
        jnp.asarray(PAPER_THRESHOLDS, jnp.float32),
        removal_order(model.graph),
    ).kept
    return 1 - circuit_losses(model.params, model.config, batch, misses, np.asarray(kept))


def misses(logits: Float[Array, "batch pos d_vocab_out"], batch: ContrastBatch) -> Array:
    """Share of outputs that differ from the algorithm's answers."""
    return 1 - agreement(logits, batch.target, batch.positions)


def _correlation(
    found: Float[np.ndarray, " threshold"], natural: Float[np.ndarray, " threshold"]
) -> float | None:
    if np.ptp(found) == 0 or np.ptp(natural) == 0:
        return None
    return float(np.corrcoef(found, natural)[0, 1])
