"""What the weight of the strict loss and the seed do."""

from typing import Any

import jax
import numpy as np

from interpbench_jax.compiler import compile_case
from interpbench_jax.evaluation import leakage
from interpbench_jax.siit import SiitConfig, align, make_problem, members, train_siit

STRICT_WEIGHTS = (0.0, 0.1, 0.4, 1.0, 4.0)
SEEDS = (0, 1, 2)


def sweep_rows(case: str, *, max_batches: int = 3_000, n_pairs: int = 500) -> list[dict[str, Any]]:
    """Trains all weights and seeds together, and looks at what leaks.

    Args:
      case: name of a case.
      max_batches: of training.
      n_pairs: fresh pairs on which leakage is measured.

    Returns:
      A row per weight of the strict loss and seed: accuracy, worst IIA, worst SIIA, mean and worst
      leakage.
    """
    compiled = compile_case(case)
    alignment = align(compiled)
    config = SiitConfig(max_batches=max_batches)
    crowd = members(config, seeds=SEEDS, vary={"strict_weight": STRICT_WEIGHTS})
    problem = make_problem(compiled, alignment, jax.random.key(0), n_pairs=config.n_pairs)
    result = train_siit(problem, alignment.config, crowd)
    fresh = make_problem(compiled, alignment, jax.random.key(1), n_pairs=n_pairs)
    fresh = fresh.take(slice(n_pairs))
    rows = []
    for place, member in enumerate(crowd):
        params = jax.tree.map(lambda weight, place=place: weight[place], result.params)
        leaked = leakage(params, alignment.config, fresh, jax.random.key(2))
        rows.append(
            {
                "case": case,
                "strict_weight": member.config.strict_weight,
                "seed": member.seed,
                "accuracy": float(result.scores.accuracy[place]),
                "iia_worst": float(np.min(result.scores.iia[place])),
                "siia_worst": float(np.min(result.scores.siia[place])),
                "leakage": float(leaked.mean),
                "leakage_worst": float(leaked.worst),
            }
        )
    return rows
