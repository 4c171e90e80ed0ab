"""Strict interchange intervention training."""

from interpbench_jax.siit.causal_model import problem_from_causal_model
from interpbench_jax.siit.config import SiitConfig
from interpbench_jax.siit.edge_batch import draw_edge_batch
from interpbench_jax.siit.edge_checks import EdgeChecks, pairs_to_judge, usual_checks
from interpbench_jax.siit.edge_sets import EdgeSets, draw_edge_sets
from interpbench_jax.siit.edge_step import edge_losses
from interpbench_jax.siit.losses import (
    TOLERANCE,
    agreement,
    interchange_losses,
    is_right,
    task_loss,
)
from interpbench_jax.siit.members import VARIED, Member, members
from interpbench_jax.siit.mesh import cores_as_devices, device_mesh
from interpbench_jax.siit.presets import PRESETS, preset
from interpbench_jax.siit.problem import (
    SiitProblem,
    make_problem,
    problem_of_pairs,
)
from interpbench_jax.siit.state import TrainState, init_states
from interpbench_jax.siit.step import SiitBatch, draw_batch, update
from interpbench_jax.siit.together import (
    init_states_together,
    same_shape,
    states_by_case,
    train_together,
)
from interpbench_jax.siit.train import TrainResult, train_siit
from interpbench_jax.siit.validation import Scores, edge_agreement, validate

__all__ = [
    "PRESETS",
    "TOLERANCE",
    "VARIED",
    "EdgeChecks",
    "EdgeSets",
    "Member",
    "Scores",
    "SiitBatch",
    "SiitConfig",
    "SiitProblem",
    "TrainResult",
    "TrainState",
    "agreement",
    "cores_as_devices",
    "device_mesh",
    "draw_batch",
    "draw_edge_batch",
    "draw_edge_sets",
    "edge_agreement",
    "edge_losses",
    "interchange_losses",
    "is_right",
    "init_states",
    "init_states_together",
    "make_problem",
    "members",
    "pairs_to_judge",
    "preset",
    "problem_from_causal_model",
    "problem_of_pairs",
    "same_shape",
    "states_by_case",
    "task_loss",
    "train_siit",
    "train_together",
    "update",
    "usual_checks",
    "validate",
]
