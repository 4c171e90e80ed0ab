"""Tests of whether a model follows its circuit."""

from interpbench_jax.evaluation.ablation import ABLATIONS, Ablation, ablation_source
from interpbench_jax.evaluation.abstraction import (
    Abstraction,
    Interventions,
    abstraction,
    abstraction_targets,
    draw_interventions,
)
from interpbench_jax.evaluation.certificate import (
    N_RANDOM,
    N_RUNS,
    Audit,
    Certificate,
    EdgeScores,
    LevelCertificate,
    audit_circuit,
    certify,
    edge_scores,
)
from interpbench_jax.evaluation.circuit_accuracy import circuit_accuracy
from interpbench_jax.evaluation.edge_effects import edge_effects
from interpbench_jax.evaluation.leakage import N_SUBSETS, Leakage, leakage, subset_agreement
from interpbench_jax.evaluation.node_effects import NodeEffects, node_effects
from interpbench_jax.evaluation.position_certificate import PositionCertificate
from interpbench_jax.evaluation.position_leakage import position_leakage
from interpbench_jax.siit import Scores, agreement, validate

__all__ = [
    "ABLATIONS",
    "N_RANDOM",
    "N_RUNS",
    "N_SUBSETS",
    "Ablation",
    "Abstraction",
    "Audit",
    "Certificate",
    "EdgeScores",
    "Interventions",
    "Leakage",
    "LevelCertificate",
    "NodeEffects",
    "PositionCertificate",
    "Scores",
    "ablation_source",
    "abstraction",
    "abstraction_targets",
    "agreement",
    "audit_circuit",
    "certify",
    "circuit_accuracy",
    "draw_interventions",
    "edge_effects",
    "edge_scores",
    "leakage",
    "position_leakage",
    "node_effects",
    "subset_agreement",
    "validate",
]
