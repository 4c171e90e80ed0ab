"""Strict interchange intervention training."""

from interpbench_jax.siit.alignment import Alignment, align
from interpbench_jax.siit.config import SiitConfig
from interpbench_jax.siit.losses import TOLERANCE, agreement, interchange_losses, task_loss
from interpbench_jax.siit.problem import SiitProblem, counted_positions, make_problem
from interpbench_jax.siit.step import SiitBatch, draw_batch, make_optimizer, update
from interpbench_jax.siit.train import TrainResult, TrainState, train_siit
from interpbench_jax.siit.validation import Scores, validate

__all__ = [
    "TOLERANCE",
    "Alignment",
    "Scores",
    "SiitBatch",
    "SiitConfig",
    "SiitProblem",
    "TrainResult",
    "TrainState",
    "agreement",
    "align",
    "counted_positions",
    "draw_batch",
    "interchange_losses",
    "make_optimizer",
    "make_problem",
    "task_loss",
    "train_siit",
    "update",
    "validate",
]
