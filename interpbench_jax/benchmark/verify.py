"""Holds a stored model against its case: scores and effects on freshly drawn pairs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from interpbench_jax.compiler import CompiledCase, compile_case
from interpbench_jax.evaluation import (
    ABLATIONS,
    N_SUBSETS,
    Ablation,
    NodeEffects,
    abstraction,
    abstraction_targets,
    circuit_accuracy,
    draw_interventions,
    leakage,
    node_effects,
    validate,
)
from interpbench_jax.siit import Alignment, SiitProblem, align, make_problem
from interpbench_jax.zoo import BenchmarkModel, metrics, replacing

# Colour-blind safe, and told apart by hatch too.
_STYLES: dict[bool, dict[str, Any]] = {
    True: {"facecolor": "#0072B2", "label": "in the circuit"},
    False: {"facecolor": "#E69F00", "hatch": "////", "label": "outside"},
}
_OUTLINE: dict[str, Any] = {"edgecolor": "black", "linewidth": 0.6}
# On fewer pairs, a share says little.
_FEWEST_PAIRS = 100


class Verification(NamedTuple):
    """What a model does on pairs drawn anew.

    Attributes:
      metrics: accuracy, IIA and SIIA as fractions, mean and worst.
      effects: per writer.
    """

    metrics: dict[str, float]
    effects: NodeEffects

    def rows(self, model: BenchmarkModel) -> list[dict[str, Any]]:
        """Node effects by name, for tables and JSON; `None` where a form does not apply."""
        aligned = {variable.node for variable in model.variables}
        rows = []
        for index, node in enumerate(model.graph.writers[1:], start=1):
            row: dict[str, Any] = {"node": node, "in_circuit": node in aligned}
            for form in NodeEffects._fields:
                value = float(getattr(self.effects, form)[index])
                row[form] = None if np.isnan(value) else round(value, 4)
            rows.append(row)
        return rows


class JointVerification(NamedTuple):
    """What a model does when many nodes are patched at once, and when nodes are ablated.

    Attributes:
      metrics: leakage and abstraction as fractions, mean and worst.
      n_pairs: on how many pairs these were measured.
      worst: the free nodes that leak most; the variables interchanged, and the free nodes patched,
        in the intervention with the least agreement.
      circuit_accuracy: accuracy when everything outside the circuit is ablated.
      effects: per node but the input, the share of outputs that miss the base's target when it is
        ablated, over positions where base and source have different targets.
    """

    metrics: dict[str, float]
    n_pairs: int
    worst: dict[str, list[str]]
    circuit_accuracy: dict[Ablation, float]
    effects: dict[Ablation, dict[str, float]]


def verify_model(model: BenchmarkModel, *, n_pairs: int = 5_000, seed: int = 1) -> Verification:
    """Draws pairs of the model's case and scores the model on them.

    Args:
      model: the model; its case is compiled to know what is right.
      n_pairs: how many pairs, at most.
      seed: which pairs; training draws with seed 0.
    """
    problem = _problem(compile_case(model.case), model, n_pairs, seed)
    scores = validate(model.params, model.config, problem)
    return Verification(metrics(scores), node_effects(model.params, model.config, problem))


def verify_jointly(
    model: BenchmarkModel,
    *,
    n_pairs: int = 5_000,
    n_interventions: int = 256,
    n_runs: int = 250_000,
    seed: int = 1,
) -> JointVerification:
    """Patches many nodes at once, on the pairs that `verify_model` draws.

    Args:
      model: the model; its case is compiled to know what is right.
      n_pairs: how many pairs, at most.
      n_interventions: how many random interventions abstraction is judged by.
      n_runs: about how many patched runs leakage may take, and abstraction: where interventions
        times pairs are more, both see only the first pairs, but at least 100.
      seed: which pairs and interventions.

    Raises:
      ValueError: a number is smaller than 1.
    """
    for name, number in (("n_interventions", n_interventions), ("n_runs", n_runs)):
        if number < 1:
            raise ValueError(f"{name} must be at least 1, got {number}")
    compiled = compile_case(model.case)
    network, free = (model.params, model.config), _align(compiled, model).free_nodes
    problem = _problem(compiled, model, n_pairs, seed)
    most = max(min(2 ** len(free), N_SUBSETS), n_interventions)
    some = problem.take(slice(max(_FEWEST_PAIRS, n_runs // most)))

    key_subsets, key_interventions = jax.random.split(jax.random.fold_in(jax.random.key(seed), 1))
    drawn = draw_interventions(some, key_interventions, n_interventions)
    targets = abstraction_targets(compiled, some, drawn.variables)
    agreed = abstraction(*network, some, drawn, targets)
    leaked = leakage(*network, some, key_subsets)

    worst, nodes = agreed.worst_intervention, model.graph.writers[1:]
    names = [variable.name for variable in model.variables]
    return JointVerification(
        metrics={
            "leakage": float(leaked.mean),
            "leakage_worst": float(leaked.worst),
            "leakage_worst_position": float(leaked.worst_position),
            "abstraction": float(agreed.mean),
            "abstraction_worst": float(agreed.worst),
        },
        n_pairs=some.n_pairs,
        worst={
            "leakage_nodes": _chosen(free, leaked.worst_nodes),
            "abstraction_variables": _chosen(names, drawn.variables[worst]),
            "abstraction_nodes": _chosen(free, drawn.free[worst]),
        },
        circuit_accuracy={
            kind: float(circuit_accuracy(*network, problem, kind)) for kind in ABLATIONS
        },
        effects={
            kind: dict(zip(nodes, found.accuracy[1:].tolist(), strict=True))
            for kind in ABLATIONS
            for found in [node_effects(*network, problem, ablation=kind)]
        },
    )


def draw_effects(model: BenchmarkModel, joint: JointVerification, file: Path) -> None:
    """Draws the effect of every node, a panel per ablation; the format follows the suffix.

    Args:
      model: the model that was verified.
      joint: what was found.
      file: where to write; replaced when the drawing is complete.
    """
    nodes = model.graph.writers[1:]
    aligned = {variable.node for variable in model.variables}
    size = (2.2 + 2.2 * len(ABLATIONS), 1.5 + 0.24 * len(nodes))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(1, len(ABLATIONS), sharey=True, squeeze=False)[0]
    for axes, kind in zip(panels, ABLATIONS, strict=True):
        bars = axes.barh(nodes, [joint.effects[kind][node] for node in nodes], **_OUTLINE)
        for bar, node in zip(bars, nodes, strict=True):
            bar.set(**_STYLES[node in aligned])
        axes.set(xlim=(0, 1), title=kind.replace("_", " "))
        axes.grid(axis="x", alpha=0.3)
    panels[0].invert_yaxis()
    for label, node in zip(panels[0].get_yticklabels(), nodes, strict=True):
        label.set_fontweight("bold" if node in aligned else "normal")
    handles = [Patch(**_OUTLINE, **style) for style in _STYLES.values()]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False)
    figure.suptitle(
        f"case {model.case}: {model.card['title']}\n"
        "share of outputs that miss the target once the node is ablated"
    )
    with replacing(file) as partial:
        figure.savefig(partial, dpi=120)


def _problem(compiled: CompiledCase, model: BenchmarkModel, n_pairs: int, seed: int) -> SiitProblem:
    problem = make_problem(
        compiled,
        _align(compiled, model),
        jax.random.key(seed),
        n_pairs=n_pairs,
        min_length=model.min_length,
    )
    return problem.take(slice(n_pairs))


def _align(compiled: CompiledCase, model: BenchmarkModel) -> Alignment:
    return align(compiled, padded=model.config.pad is not None, same_size=model.same_size)


def _chosen(names: Sequence[str], mask: Bool[Array, " name"]) -> list[str]:
    return [name for name, chosen in zip(names, mask.tolist(), strict=True) if chosen]
