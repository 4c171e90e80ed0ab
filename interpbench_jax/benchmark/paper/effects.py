"""Effects of nodes in compiled models, in models trained by IIT, and in models trained by SIIT."""

from typing import Any

import jax
import numpy as np

from interpbench_jax.alignment import align
from interpbench_jax.compiler import CompiledCase, compile_case
from interpbench_jax.evaluation import circuit_accuracy, node_effects
from interpbench_jax.model import Circuit, Params, TransformerConfig
from interpbench_jax.siit import SiitProblem, make_problem
from interpbench_jax.zoo import load_model


def effect_rows(case: str, *, n_pairs: int = 5_000) -> list[dict[str, Any]]:
    """Resamples one node at a time, and mean-ablates everything except the circuit.

    Args:
      case: a case with bundled models.
      n_pairs: the largest number of pairs of test sequences.

    Returns:
      A row per model (`tracr`, `iit`, `siit`): for each node outside and inside the circuit, the
      share of outputs that miss the target when the node is resampled, among outputs whose targets
      differ between the two inputs; and the accuracy of the circuit alone (not for the compiled
      model).
    """
    compiled = compile_case(case)
    problem = _problem(compiled, n_pairs)
    tracr = (compiled.deciding_params, compiled.config, compiled.circuit)
    rows = [_row(case, "tracr", *tracr, problem)]
    for preset, name in (("iit", f"iit/{case}"), ("siit", f"siit/{case}")):
        model = load_model(name)
        row = _row(case, preset, model.params, model.config, model.circuit, problem)
        alone = circuit_accuracy(model.params, model.config, problem, "mean_per_position")
        rows.append(row | {"circuit_accuracy": float(alone)})
    return rows


def _problem(compiled: CompiledCase, n_pairs: int) -> SiitProblem:
    key = jax.random.key(1)
    return make_problem(compiled, align(compiled), key, n_pairs=n_pairs, part="test")


def _row(
    case: str,
    name: str,
    params: Params,
    config: TransformerConfig,
    circuit: Circuit,
    problem: SiitProblem,
) -> dict[str, Any]:
    effects = np.asarray(node_effects(params, config, problem).accuracy)
    nodes = circuit.graph.writers
    sides: dict[str, list[float]] = {"inside": [], "outside": []}
    for node, effect in zip(nodes[1:], effects[1:].tolist(), strict=True):
        sides["inside" if node in circuit.nodes else "outside"].append(effect)
    return {"case": case, "model": name, **sides}
