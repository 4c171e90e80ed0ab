"""The optimizers of training: directions that the step scales by the learning rate."""

from typing import Any, Literal

import jax
import optax
from optax.contrib import MuonDimensionNumbers

from interpbench_jax.model import Params

Optimizer = Literal["adam", "muon"]

# Learning rate of biases and embeddings, which Muon leaves to Adam, relative to that of matrices.
_ADAM_SHARE = 0.3
# Matrices of heads, `[head, rows, columns]`.
_OF_HEADS = frozenset({"W_Q", "W_K", "W_V", "W_O"})
_EMBEDDINGS = frozenset({"embed", "pos_embed", "unembed"})


def make_optimizer(
    kind: Optimizer = "adam", *, clip_norm: float, beta1: float, beta2: float
) -> optax.GradientTransformation:
    """Clips by global norm, then computes a direction; the step subtracts it times a learning rate.

    Args:
      kind: `adam`, or `muon`: matrices move along their orthogonalised momentum, each head's
        separately; biases and embeddings by Adam with Nesterov's momentum.
      clip_norm: global norm to which gradients are clipped.
      beta1: Adam's decay of the mean gradient.
      beta2: Adam's decay of the mean squared gradient.

    Source: Kingma and Ba 2015, Adam; Jordan et al. 2024, Muon.
    """
    clip = optax.clip_by_global_norm(clip_norm)
    if kind == "adam":
        return optax.chain(clip, optax.scale_by_adam(b1=beta1, b2=beta2))
    muon = optax.contrib.muon(
        1.0,
        adam_learning_rate=_ADAM_SHARE,
        adam_b1=beta1,
        adam_b2=beta2,
        muon_weight_dimension_numbers=_matrices,
    )
    return optax.chain(clip, muon, optax.scale(-1.0))  # `optax.contrib.muon` already subtracts


def _matrices(params: Params) -> Any:
    """For every array, which axes of it are a matrix; None if Adam moves it."""

    def of(path: tuple[Any, ...], array: jax.Array) -> MuonDimensionNumbers | None:
        names = [str(getattr(part, "key", getattr(part, "name", ""))) for part in path]
        if _EMBEDDINGS & set(names) or names[-1:] and names[-1].startswith("b_"):
            return None  # the biases of heads are no matrix, though they have two axes
        if names and names[-1] in _OF_HEADS and array.ndim == 3:
            return MuonDimensionNumbers(reduction_axis=1, output_axis=2)
        return MuonDimensionNumbers() if array.ndim == 2 else None

    return jax.tree_util.tree_map_with_path(of, params)
