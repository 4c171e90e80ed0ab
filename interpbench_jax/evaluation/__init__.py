"""Tests of whether a model follows its circuit."""

from interpbench_jax.evaluation.ablation import ABLATIONS, Ablation, ablation_source
from interpbench_jax.evaluation.abstraction import (
    Abstraction,
    Interventions,
    abstraction,
    abstraction_targets,
    draw_interventions,
)
from interpbench_jax.evaluation.audit import Audit, audit_circuit
from interpbench_jax.evaluation.certificate import Certificate, certify
from interpbench_jax.evaluation.circuit_accuracy import circuit_accuracy
from interpbench_jax.evaluation.edge_effects import edge_effects
from interpbench_jax.evaluation.edge_scores import EdgeScores, edge_scores
from interpbench_jax.evaluation.leakage import N_SUBSETS, Leakage, leakage, subset_agreement
from interpbench_jax.evaluation.level_certificate import N_RANDOM, N_RUNS, LevelCertificate
from interpbench_jax.evaluation.node_effects import NodeEffects, node_effects
from interpbench_jax.evaluation.position_certificate import PositionCertificate
from interpbench_jax.evaluation.position_leakage import position_leakage

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
    "ablation_source",
    "abstraction",
    "abstraction_targets",
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
]
