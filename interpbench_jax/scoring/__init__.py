"""Scores of found circuits, and comparisons of methods."""

from interpbench_jax.scoring.average_precision import (
    edge_average_precision,
    node_average_precision,
)
from interpbench_jax.scoring.circuit_losses import circuit_losses
from interpbench_jax.scoring.circuits import (
    Circuits,
    FoundEdges,
    circuits_of_size,
    compared_edges,
    found_circuit,
    found_circuits,
    found_edges,
)
from interpbench_jax.scoring.completeness import Incompleteness, incompleteness
from interpbench_jax.scoring.dead_ends import without_dead_ends
from interpbench_jax.scoring.faithfulness import (
    FaithfulnessCurve,
    faithfulness,
    faithfulness_curve,
)
from interpbench_jax.scoring.items import SCORE_RESOLUTION, Items, Level, edge_items, node_items
from interpbench_jax.scoring.minimality import minimality
from interpbench_jax.scoring.node_importance import node_importance
from interpbench_jax.scoring.node_scores import edge_scores_of_nodes
from interpbench_jax.scoring.rates import Rates, edge_rates
from interpbench_jax.scoring.roc import Roc, edge_roc, node_roc
from interpbench_jax.scoring.shares import SHARES, share_auroc
from interpbench_jax.scoring.staircase import PAPER_THRESHOLDS, staircase_auroc
from interpbench_jax.scoring.statistics import (
    Comparison,
    Place,
    a12,
    compare,
    holm,
    mean_interval,
    ranking,
    signed_rank,
)

__all__ = [
    "PAPER_THRESHOLDS",
    "SCORE_RESOLUTION",
    "SHARES",
    "Circuits",
    "Comparison",
    "FaithfulnessCurve",
    "FoundEdges",
    "Incompleteness",
    "Items",
    "Level",
    "Place",
    "Rates",
    "Roc",
    "a12",
    "circuit_losses",
    "circuits_of_size",
    "compare",
    "compared_edges",
    "edge_average_precision",
    "edge_items",
    "edge_rates",
    "edge_roc",
    "edge_scores_of_nodes",
    "faithfulness",
    "faithfulness_curve",
    "found_circuit",
    "found_circuits",
    "found_edges",
    "holm",
    "incompleteness",
    "mean_interval",
    "minimality",
    "node_average_precision",
    "node_importance",
    "node_items",
    "node_roc",
    "ranking",
    "share_auroc",
    "signed_rank",
    "staircase_auroc",
    "without_dead_ends",
]
