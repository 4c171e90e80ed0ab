"""The distributions of weights of compiled, SIIT and natural models."""

from collections.abc import Mapping, Sequence

import jax
import numpy as np
from jaxtyping import Float
from scipy.stats import entropy

from interpbench_jax.compiler import compile_case
from interpbench_jax.model import Params
from interpbench_jax.zoo import load_model

PAIRS = (("natural", "tracr"), ("natural", "siit"), ("siit", "tracr"))
_N_BINS = 200


def weight_divergences(cases: Sequence[str]) -> dict[str, float]:
    """KL divergences, in nats, between histograms of all weights of all cases.

    A histogram has 200 bins between the smallest and the largest weight of any trained model. One
    is added to every count, so that no divergence is infinite. Compiled models have weights up to
    100, which count in the outermost bins.

    Args:
      cases: cases with bundled models.
    """
    pooled = {
        "tracr": _pooled([compile_case(case).params for case in cases]),
        "siit": _pooled([load_model(case).params for case in cases]),
        "natural": _pooled([load_model(f"natural/{case}").params for case in cases]),
    }
    counts = histograms(pooled)
    return {f"{p}-{q}": float(entropy(counts[p], counts[q])) for p, q in PAIRS}


def histograms(
    weights: Mapping[str, Float[np.ndarray, " weight"]],
) -> dict[str, Float[np.ndarray, " bin"]]:
    """Counts plus one in the bins of `weight_divergences`."""
    trained = np.concatenate([weights["natural"], weights["siit"]])
    ends = trained.min(), trained.max()
    return {
        name: np.histogram(np.clip(values, *ends), _N_BINS, ends)[0] + 1.0
        for name, values in weights.items()
    }


def _pooled(models: Sequence[Params]) -> Float[np.ndarray, " weight"]:
    return np.concatenate([np.ravel(w) for model in models for w in jax.tree.leaves(model)])
