"""Evaluation of a stored model against its case: scores and effects on test sequences."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict
from jaxtyping import Array, Bool

from interpbench_jax.alignment import Alignment
from interpbench_jax.benchmark.evaluation_settings import EvaluationSettings
from interpbench_jax.evaluation import (
    ABLATIONS,
    N_SUBSETS,
    Ablation,
    Audit,
    Certificate,
    NodeEffects,
    abstraction,
    abstraction_targets,
    audit_circuit,
    certify,
    circuit_accuracy,
    draw_interventions,
    edge_scores,
    leakage,
    node_effects,
    position_leakage,
)
from interpbench_jax.evaluation.ablation import reference_run
from interpbench_jax.model import Circuit, Params, TransformerConfig
from interpbench_jax.siit import SiitProblem, problem_of_pairs, validate
from interpbench_jax.tasks import Pairs, Task
from interpbench_jax.zoo import BenchmarkModel, EvaluationPairs, evaluation_pairs, metrics

# Fewer pairs are too few to estimate a share.
_FEWEST_PAIRS = 100
# Pairs for a certificate are chosen from this many times as many; see `pairs_to_judge`.
_CHOICE = 2


class JointEvaluation(NamedTuple):
    """Results of patching many nodes at once, and of ablating nodes.

    Attributes:
      metrics: leakage and abstraction as fractions, mean and worst.
      n_pairs: number of pairs on which these were measured.
      held_out: whether the sequences were held out; None if the model's card does not say.
      statement: the same in words.
      leakage_per_position: leakage of the worst subset at each position, BOS first.
      leakage_of_position: leakage when free nodes are patched only at a position, by position.
      worst: the free nodes that leak most; and the interchanged variables and patched free nodes of
        the intervention with the least agreement.
      circuit_accuracy: accuracy when everything outside the circuit is ablated.
      effects: effects of ablating each writer, by ablation.
    """

    metrics: dict[str, float]
    n_pairs: int
    held_out: bool | None
    statement: str
    leakage_per_position: list[float]
    leakage_of_position: list[float]
    worst: dict[str, list[str]]
    circuit_accuracy: dict[Ablation, float]
    effects: dict[Ablation, NodeEffects]

    @property
    def has_effects(self) -> bool:
        """Whether effects are defined: targets of base and source differ somewhere."""
        return not np.isnan(self.effects["resample"].accuracy).any()

    def effect_rows(self, model: BenchmarkModel) -> list[dict[str, Any]]:
        """Rows for tables and JSON, one per head and MLP, with effects by measure and ablation.

        Measures that do not apply to the model are left out; all if `has_effects` is false.
        """
        aligned = {variable.node for variable in model.variables}
        resampled = self.effects["resample"]
        forms = [form for form in NodeEffects._fields if getattr(resampled, form) is not None]
        forms = forms if self.has_effects else []
        rows = []
        for index, node in enumerate(model.graph.writers[1:], start=1):
            row: dict[str, Any] = {"node": node, "in_circuit": node in aligned}
            for form in forms:
                row[form] = {
                    kind: round(float(getattr(found, form)[index]), 4) + 0.0  # never -0.0
                    for kind, found in self.effects.items()
                }
            rows.append(row)
        return rows


def validate_model(
    model: BenchmarkModel,
    *,
    n_pairs: int = EvaluationSettings.n_pairs,
    seed: int = EvaluationSettings.seed,
) -> dict[str, float]:
    """Scores a model on pairs of its case's test sequences; see `validate`.

    Args:
      model: the model; its task gives the right answers.
      n_pairs: the largest number of pairs.
      seed: seed of the pairs.

    Returns:
      Accuracy, IIA and SIIA as fractions, mean and worst.

    Raises:
      ValueError: as `check_answers`.
    """
    problem, _ = _problem(model, n_pairs, seed)
    check_answers(model, problem)
    return metrics(validate(model.params, model.config, problem))


def evaluate_jointly(
    model: BenchmarkModel,
    *,
    n_pairs: int = EvaluationSettings.n_pairs,
    n_interventions: int = EvaluationSettings.n_interventions,
    n_runs: int = EvaluationSettings.n_runs,
    seed: int = EvaluationSettings.seed,
) -> JointEvaluation:
    """Patches many nodes at once, on the pairs of `validate_model`.

    Args:
      model: the model; its task gives the right answers.
      n_pairs: the largest number of pairs.
      n_interventions: number of random interventions for abstraction.
      n_runs: approximate number of patched runs, each for leakage and abstraction: if interventions
        times pairs exceed it, only the first pairs are used, but at least 100.
      seed: seed of the pairs and interventions.

    Raises:
      ValueError: a number is smaller than 1; or as `check_answers`.
    """
    for name, number in (("n_interventions", n_interventions), ("n_runs", n_runs)):
        if number < 1:
            raise ValueError(f"{name} must be at least 1, got {number}")
    alignment = model.alignment
    network, free = (model.params, model.config), alignment.free_nodes
    problem, pairs = _problem(model, n_pairs, seed)
    check_answers(model, problem)
    most = max(min(2 ** len(free), N_SUBSETS), n_interventions)
    some = problem.take(slice(max(_FEWEST_PAIRS, n_runs // most)))

    key_subsets, key_interventions = jax.random.split(jax.random.fold_in(jax.random.key(seed), 1))
    drawn = draw_interventions(some, key_interventions, n_interventions, pad=model.config.pad)
    targets = abstraction_targets(model.task, some, drawn.variables)
    agreed = abstraction(*network, some, drawn, targets)
    leaked = leakage(*network, some, key_subsets)
    of_position = position_leakage(*network, some)

    worst = agreed.worst_intervention
    names = [variable.name for variable in model.variables]
    return JointEvaluation(
        metrics={
            "leakage": float(leaked.mean),
            "leakage_worst": float(leaked.worst),
            "leakage_worst_position": float(leaked.worst_position),
            "leakage_one_position": float(of_position.max()),
            "abstraction": float(agreed.mean),
            "abstraction_worst": float(agreed.worst),
        },
        n_pairs=some.n_pairs,
        held_out=pairs.held_out,
        statement=pairs.statement,
        leakage_per_position=leaked.per_position.tolist(),
        leakage_of_position=of_position.tolist(),
        worst={
            "leakage_nodes": _chosen(free, leaked.worst_nodes),
            "abstraction_variables": _chosen(names, drawn.variables[worst]),
            "abstraction_nodes": _chosen(free, drawn.free[worst]),
        },
        circuit_accuracy={
            kind: float(circuit_accuracy(*network, problem, kind)) for kind in ABLATIONS
        },
        effects={kind: node_effects(*network, problem, ablation=kind) for kind in ABLATIONS},
    )


def certify_model(
    model: BenchmarkModel,
    *,
    n_pairs: int = EvaluationSettings.n_pairs,
    n_random: int = EvaluationSettings.n_sets,
    n_runs: int = EvaluationSettings.edge_runs,
    seed: int = EvaluationSettings.seed,
) -> Certificate:
    """Patches sets of edges, on pairs of its case's test sequences; see `certify`.

    Args:
      model: the model; its task gives the right answers.
      n_pairs: the largest number of pairs to patch, chosen from twice as many.
      n_random: number of random sets of edges.
      n_runs: approximate number of patched runs for each part.
      seed: seed of the pairs and sets.

    Raises:
      ValueError: a number is smaller than 1; or as `check_answers`.
    """
    given = _for_certificate(model, n_pairs, seed)
    return certify(*given, n_pairs=n_pairs, n_random=n_random, n_runs=n_runs)


def edge_scores_of_model(
    model: BenchmarkModel,
    *,
    n_pairs: int = 500,
    n_random: int = 200,
    seed: int = EvaluationSettings.seed,
) -> dict[str, float]:
    """The results of `certify_model` that cards hold, without the search; see `edge_scores`.

    Args:
      model: the model; its task gives the right answers.
      n_pairs: the largest number of pairs.
      n_random: number of random sets of edges.
      seed: seed of the pairs and sets.

    Raises:
      ValueError: as `certify_model`.
    """
    given = _for_certificate(model, n_pairs, seed)
    return edge_scores(*given, n_pairs=n_pairs, n_random=n_random).metrics


def audit_claim(
    model: BenchmarkModel,
    circuit: Circuit,
    *,
    n_pairs: int = EvaluationSettings.n_pairs,
    n_random: int = EvaluationSettings.n_sets,
    n_runs: int = EvaluationSettings.edge_runs,
    seed: int = EvaluationSettings.seed,
) -> Audit:
    """Patches edges outside a claimed circuit; see `audit_circuit`.

    Args:
      model: the model; only the inputs of its task are used, not the algorithm.
      circuit: all edges that are claimed to matter.
      n_pairs: the largest number of pairs.
      n_random: number of random sets of edges outside.
      n_runs: approximate number of patched runs for each part.
      seed: seed of the pairs and sets.

    Raises:
      ValueError: as `audit_circuit` and `check_answers`.
    """
    pairs = evaluation_pairs(model, n_pairs, seed).pairs
    check_answers(model, pairs)
    return audit_circuit(
        model.params,
        model.config,
        circuit,
        pairs,
        jax.random.fold_in(jax.random.key(seed), 2),
        categorical=model.task.categorical,
        n_random=n_random,
        n_runs=n_runs,
    )


def check_answers(model: BenchmarkModel, pairs: SiitProblem | Pairs) -> None:
    """Checks that all outputs of the unpatched model are finite; otherwise scores have no meaning.

    Raises:
      ValueError: an output is NaN or infinite; the message names the weights that are not finite.
    """
    rows = jnp.concatenate([pairs.base, pairs.source])
    logits, _ = reference_run(model.params, model.config, rows)
    broken = int((~jnp.isfinite(logits)).any((1, 2)).sum())
    if broken:
        weights = [
            ".".join(name)
            for name, weight in flatten_dict(model.params).items()
            if not np.isfinite(weight).all()
        ]
        raise ValueError(
            f"the model of case {model.case} gives NaN or infinity on {broken} of {len(rows)} "
            f"inputs; weights that are not finite: {', '.join(weights) or 'none'}"
        )


def _for_certificate(
    model: BenchmarkModel, n_pairs: int, seed: int
) -> tuple[Params, TransformerConfig, Task, Alignment, Pairs, Array]:
    """The positional arguments of `certify`."""
    if n_pairs < 1:
        raise ValueError(f"n_pairs must be at least 1, got {n_pairs}")
    pairs = evaluation_pairs(model, _CHOICE * n_pairs, seed).pairs
    check_answers(model, pairs)
    key = jax.random.fold_in(jax.random.key(seed), 2)
    return model.params, model.config, model.task, model.alignment, pairs, key


def _problem(model: BenchmarkModel, n_pairs: int, seed: int) -> tuple[SiitProblem, EvaluationPairs]:
    found = evaluation_pairs(model, n_pairs, seed)
    return problem_of_pairs(model.task, model.alignment, found.pairs), found


def _chosen(names: Sequence[str], mask: Bool[Array, " name"]) -> list[str]:
    return [name for name, chosen in zip(names, mask.tolist(), strict=True) if chosen]
