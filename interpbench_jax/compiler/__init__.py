"""From a RASP program to weights, variables and a ground-truth circuit."""

from interpbench_jax.compiler.compiled import CompiledCase, compile_case
from interpbench_jax.compiler.variables import Variable

__all__ = ["CompiledCase", "Variable", "compile_case"]
