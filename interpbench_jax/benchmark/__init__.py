"""The benchmark: runs methods on models, scores them, stores the results and reports them.

Names are loaded when they are first used, so a finished plan is recognised without importing JAX.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from interpbench_jax.benchmark import plot
    from interpbench_jax.benchmark.draw import draw_comparison
    from interpbench_jax.benchmark.evaluate import (
        JointEvaluation,
        audit_claim,
        certify_model,
        edge_scores_of_model,
        evaluate_jointly,
        validate_model,
    )
    from interpbench_jax.benchmark.evaluation_settings import EvaluationSettings
    from interpbench_jax.benchmark.execution import execute
    from interpbench_jax.benchmark.findings import (
        Finding,
        make_contrast,
        run_methods,
        write_findings,
    )
    from interpbench_jax.benchmark.measure import measure
    from interpbench_jax.benchmark.packed_results import PackedResults, pack_results
    from interpbench_jax.benchmark.plan import ModelSource, Run, make_plan, share_of
    from interpbench_jax.benchmark.report import write_report
    from interpbench_jax.benchmark.results_store import Store

_HOME = {
    "EvaluationSettings": "evaluation_settings",
    "Finding": "findings",
    "JointEvaluation": "evaluate",
    "ModelSource": "plan",
    "PackedResults": "packed_results",
    "Run": "plan",
    "Store": "results_store",
    "audit_claim": "evaluate",
    "certify_model": "evaluate",
    "draw_comparison": "draw",
    "edge_scores_of_model": "evaluate",
    "evaluate_jointly": "evaluate",
    "execute": "execution",
    "make_contrast": "findings",
    "make_plan": "plan",
    "measure": "measure",
    "pack_results": "packed_results",
    "run_methods": "findings",
    "share_of": "plan",
    "validate_model": "evaluate",
    "write_findings": "findings",
    "write_report": "report",
}

__all__ = [
    "EvaluationSettings",
    "Finding",
    "JointEvaluation",
    "ModelSource",
    "PackedResults",
    "Run",
    "Store",
    "audit_claim",
    "certify_model",
    "draw_comparison",
    "edge_scores_of_model",
    "evaluate_jointly",
    "execute",
    "make_contrast",
    "make_plan",
    "measure",
    "pack_results",
    "plot",
    "run_methods",
    "share_of",
    "validate_model",
    "write_findings",
    "write_report",
]


def __dir__() -> list[str]:
    return list(__all__)  # for tab completion


def __getattr__(name: str) -> Any:
    if name == "plot":
        return importlib.import_module("interpbench_jax.benchmark.plot")
    if name in _HOME:
        return getattr(importlib.import_module(f"interpbench_jax.benchmark.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
