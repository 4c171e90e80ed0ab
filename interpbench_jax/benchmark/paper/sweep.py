"""The effect of the strict loss's weight and of the seed."""

from typing import Any

import jax

from interpbench_jax.alignment import align
from interpbench_jax.compiler import compile_case
from interpbench_jax.evaluation import leakage
from interpbench_jax.siit import SiitConfig, make_problem, members, train_siit, validate
from interpbench_jax.tasks import pairs_per_part

STRICT_WEIGHTS = (0.0, 0.1, 0.4, 1.0, 4.0)
SEEDS = (0, 1, 2)
_MAX_BATCHES = 3_000
_N_PAIRS = 500  # held-out pairs on which leakage and scores are measured


def sweep_rows(case: str) -> list[dict[str, Any]]:
    """Trains a model for every weight of the strict loss and every seed, and measures leakage.

    Args:
      case: name of a case.

    Returns:
      A row per weight of the strict loss and seed: accuracy, worst IIA, worst SIIA, mean and worst
      leakage.
    """
    compiled = compile_case(case)
    alignment = align(compiled)
    config = SiitConfig(max_batches=_MAX_BATCHES)
    trained = members(config, seeds=SEEDS, vary={"strict_weight": STRICT_WEIGHTS})
    training, validation, test = (
        make_problem(compiled, alignment, jax.random.key(0), n_pairs=n, part=part)
        for part, n in (
            pairs_per_part(config.n_pairs, config.held_out) | {"test": _N_PAIRS}
        ).items()
    )
    result = train_siit(training, alignment.network, trained, validation=validation)
    rows = []
    for place, member in enumerate(trained):
        params = jax.tree.map(lambda weight, place=place: weight[place], result.params)
        leaked = leakage(params, alignment.network, test, jax.random.key(2))
        scores = validate(params, alignment.network, test)
        rows.append(
            {
                "case": case,
                "strict_weight": member.config.strict_weight,
                "seed": member.seed,
                "accuracy": float(scores.accuracy),
                "iia_worst": float(scores.iia.min()),
                "siia_worst": float(scores.siia.min(initial=1.0)),
                "leakage": float(leaked.mean),
                "leakage_worst": float(leaked.worst),
            }
        )
    return rows
