"""Seconds to draw 100,000 inputs of a case and compute its algorithm's answers.

Run: `.venv/bin/python benchmarks/inputs_speed.py`. Prints one line per case; the last line is JSON.
Times exclude Tracr's compilation of the case and include XLA's.
"""

import time

import jax
import numpy as np
import tyro
from flax.traverse_util import flatten_dict

from interpbench_jax.cases import PAPER, sample_sequences
from interpbench_jax.compiler import algorithm_outputs, compile_case
from interpbench_jax.files import to_json


def main(cases: tuple[str, ...] = (*PAPER, "119"), *, n_inputs: int = 100_000) -> None:
    """Time drawing, encoding and evaluating inputs.

    Args:
      cases: names of cases.
      n_inputs: number of inputs.
    """
    found = {}
    for name in cases:
        started = time.perf_counter()
        compiled = compile_case(name)
        compiled_after = time.perf_counter() - started
        started = time.perf_counter()
        drawn = sample_sequences(compiled.case, n_inputs, jax.random.key(0))
        compiled.codec.encode_indices(drawn)
        np.asarray(algorithm_outputs(compiled, drawn))
        seconds = time.perf_counter() - started
        n_params = sum(weight.size for weight in flatten_dict(compiled.params).values())
        found[name] = {"ours_s": round(seconds, 2), "n_params": n_params}
        print(f"case {name}: {n_params:,} parameters, {seconds:.2f} s", end="")
        print(f" (case ready after {compiled_after:.2f} s)", flush=True)
    print(to_json(found))


if __name__ == "__main__":
    tyro.cli(main)
