"""From a case to a trained model with its card."""

import datetime
import importlib.metadata
import platform
import time
from dataclasses import asdict
from typing import Any

import jax
import numpy as np

from interpbench_jax.cases import Case
from interpbench_jax.compiler import CompiledCase, compile_case
from interpbench_jax.model import Params
from interpbench_jax.siit import Alignment, Scores, SiitConfig, align, make_problem, train_siit
from interpbench_jax.siit.train import OnRound, TrainState
from interpbench_jax.zoo.model import AlignedVariable, BenchmarkModel

_PACKAGES = ("interpbench-jax", "jax", "jaxlib", "flax", "optax", "tracr-pypi", "numpy")
_PROBLEM_KEY = 0


def make_model(
    case: Case | str,
    config: SiitConfig,
    *,
    seeds: tuple[int, ...] = (0,),
    on_round: OnRound | None = None,
) -> BenchmarkModel:
    """Compiles a case, trains one model per seed, and returns the best with its card.

    The best is the one whose worst score (accuracy, IIA of any variable, SIIA of any free node),
    on the pairs held out, is largest; the card lists all.

    Args:
      case: the case or its name.
      config: settings of training.
      seeds: one model each, trained together.
      on_round: called with the training state after every round.
    """
    compiled = compile_case(case)
    alignment = align(compiled, padded=config.min_length is not None)
    problem = make_problem(
        compiled,
        alignment,
        jax.random.key(_PROBLEM_KEY),
        n_pairs=config.n_pairs,
        min_length=config.min_length,
    )
    clock = [time.perf_counter()]

    def timed(state: TrainState) -> None:
        clock.append(time.perf_counter())
        if on_round is not None:
            on_round(state)

    result = train_siit(problem, alignment.config, config, seeds=seeds, on_round=timed)
    worst = np.array(jax.vmap(Scores.worst)(result.scores))
    best = int(worst.argmax())
    rounds = int(result.rounds[best])
    card = {
        "case": compiled.case.name,
        "title": compiled.case.title,
        "metrics": metrics(jax.tree.map(lambda x: x[best], result.scores)),
        "reached_threshold": bool(worst[best] >= config.threshold),
        "config": asdict(config),
        "seed": seeds[best],
        "seeds": {str(seed): float(score) for seed, score in zip(seeds, worst, strict=True)},
        "batches": rounds * config.round_batches,
        "seconds": round(clock[-1] - clock[0], 2),
        "batches_per_second": _batches_per_second(clock, config),
        **provenance(),
    }
    params = jax.tree.map(lambda x: np.asarray(x[best]), result.params)
    return assemble_model(compiled, alignment, params, card)


def _batches_per_second(clock: list[float], config: SiitConfig) -> float | None:
    """Validation included, compilation not: the first round is left out; None if it is the only."""
    rounds = len(clock) - 2
    if rounds < 1:
        return None
    return round(rounds * config.round_batches / (clock[-1] - clock[1]), 1)


def assemble_model(
    compiled: CompiledCase, alignment: Alignment, params: Params, card: dict[str, Any]
) -> BenchmarkModel:
    """Puts weights and what is known about them together."""
    variables = tuple(
        AlignedVariable(values=v.values, compiled_node=v.node, node=node)
        for v, node in zip(compiled.variables, alignment.nodes, strict=True)
    )
    return BenchmarkModel(
        case=compiled.case.name,
        params=params,
        config=alignment.config,
        variables=variables,
        circuit=alignment.circuit,
        card=card,
    )


def metrics(scores: Scores) -> dict[str, float]:
    """Scores of one model as they stand in a card; all are fractions."""
    return {
        "accuracy": float(scores.accuracy),
        "iia": float(scores.iia.mean()),
        "siia": float(scores.siia.mean()) if len(scores.siia) else 1.0,
        "iia_worst": float(scores.iia.min()),
        "siia_worst": float(scores.siia.min(initial=1.0)),
    }


def provenance() -> dict[str, Any]:
    """Where, when and with what a result was made."""
    return {
        "device": f"{jax.devices()[0].device_kind} ({platform.machine()})",
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }
