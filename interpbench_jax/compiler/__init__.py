"""From a RASP program to weights, variables and a ground-truth circuit."""

from interpbench_jax.compiler.answers import CompiledAnswers, TabulatedAnswers
from interpbench_jax.compiler.codec import Codec, compiled_labels
from interpbench_jax.compiler.compiled import CompiledCase, compile_case
from interpbench_jax.compiler.content import case_fingerprint
from interpbench_jax.compiler.get_task import get_task
from interpbench_jax.compiler.haiku_to_params import haiku_to_params
from interpbench_jax.compiler.outputs import algorithm_outputs
from interpbench_jax.compiler.params_to_haiku import params_to_haiku
from interpbench_jax.compiler.program_text import program_text
from interpbench_jax.compiler.tracr_stages import TracrModel, compile_with_tracr
from interpbench_jax.compiler.variable_values import variable_values
from interpbench_jax.compiler.variables import Variable

__all__ = [
    "Codec",
    "CompiledAnswers",
    "CompiledCase",
    "TabulatedAnswers",
    "TracrModel",
    "Variable",
    "algorithm_outputs",
    "case_fingerprint",
    "compile_case",
    "compile_with_tracr",
    "compiled_labels",
    "get_task",
    "haiku_to_params",
    "params_to_haiku",
    "program_text",
    "variable_values",
]
