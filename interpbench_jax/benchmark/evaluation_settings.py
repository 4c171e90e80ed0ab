"""How many pairs, patched runs and sets of edges an evaluation of a model takes."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """Settings of `interpbench evaluate` and `audit`; the defaults are also those in Python.

    Attributes:
      n_pairs: (base, source) pairs to draw.
      n_interventions: random interventions for abstraction.
      n_runs: approximate number of patched runs, each for leakage and abstraction.
      n_sets: random sets of edges to patch; as `evaluation.N_RANDOM`.
      edge_runs: approximate number of patched runs for each part of the edge agreement; as
        `evaluation.N_RUNS`.
      seed: seed of the pairs, interventions and sets.
    """

    n_pairs: int = 5_000
    n_interventions: int = 256
    n_runs: int = 1_000_000
    n_sets: int = 1_000
    edge_runs: int = 256_000
    seed: int = 1
