"""Transformers with known circuits, and circuit discovery methods to test on them, in JAX.

The most used functions and submodules are available here. Each is loaded when it is first used, so
importing the package is cheap.
"""

import importlib
import importlib.metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from interpbench_jax import (
        alignment,
        benchmark,
        cases,
        compiler,
        discovery,
        evaluation,
        model,
        scoring,
        siit,
        tasks,
        zoo,
    )
    from interpbench_jax.alignment import Alignment, Site, align
    from interpbench_jax.benchmark import plot
    from interpbench_jax.cases import Case, case, case_names, get_case
    from interpbench_jax.compiler import CompiledCase, compile_case, get_task
    from interpbench_jax.model import (
        Circuit,
        EdgePatch,
        Graph,
        NodePatch,
        TransformerConfig,
        forward,
        init_params,
    )
    from interpbench_jax.siit import SiitConfig, SiitProblem, make_problem, train_siit
    from interpbench_jax.tasks import CausalModel, CausalTask, Task, task
    from interpbench_jax.zoo import BenchmarkModel, load_model

# The package that a name is from; other public names are packages.
_HOME = {
    **dict.fromkeys(("Alignment", "Site", "align"), "alignment"),
    "plot": "benchmark",
    **dict.fromkeys(("Case", "case", "case_names", "get_case"), "cases"),
    **dict.fromkeys(("CompiledCase", "compile_case", "get_task"), "compiler"),
    **dict.fromkeys(
        (
            "Circuit",
            "EdgePatch",
            "Graph",
            "NodePatch",
            "TransformerConfig",
            "forward",
            "init_params",
        ),
        "model",
    ),
    **dict.fromkeys(("SiitConfig", "SiitProblem", "make_problem", "train_siit"), "siit"),
    **dict.fromkeys(("CausalModel", "CausalTask", "Task", "task"), "tasks"),
    **dict.fromkeys(("BenchmarkModel", "load_model"), "zoo"),
}

__all__ = [
    "Alignment",
    "BenchmarkModel",
    "Case",
    "CausalModel",
    "CausalTask",
    "Circuit",
    "CompiledCase",
    "EdgePatch",
    "Graph",
    "NodePatch",
    "SiitConfig",
    "SiitProblem",
    "Site",
    "Task",
    "TransformerConfig",
    "align",
    "alignment",
    "benchmark",
    "case",
    "case_names",
    "cases",
    "compile_case",
    "compiler",
    "discovery",
    "evaluation",
    "forward",
    "get_case",
    "get_task",
    "init_params",
    "load_model",
    "make_problem",
    "model",
    "plot",
    "scoring",
    "siit",
    "task",
    "tasks",
    "train_siit",
    "zoo",
]


def __dir__() -> list[str]:
    return [*__all__, "__version__"]  # for tab completion


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return importlib.metadata.version("interpbench-jax")
    if name in _HOME:
        return getattr(importlib.import_module(f"interpbench_jax.{_HOME[name]}"), name)
    if name in __all__:
        return importlib.import_module(f"interpbench_jax.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
