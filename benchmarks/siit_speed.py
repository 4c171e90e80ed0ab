"""How fast SIIT trains: batches per second of one member, compile time, and time to threshold.

Run: `.venv/bin/python benchmarks/siit_speed.py [--cases 3 13 2] [--json]`. A batch is 256 pairs
with all three losses and one optimizer step, targets looked up. The last line printed is JSON.
"""

import json
import time
from typing import Annotated

import jax
import jax.numpy as jnp
import tyro
from rich.console import Console

from interpbench_jax.benchmark.stopwatch import stopwatch
from interpbench_jax.compiler import compile_case
from interpbench_jax.siit import SiitConfig, align, init_states, make_problem, members
from interpbench_jax.siit.train import advance


def measure(case: str, *, batches: int = 200, repeats: int = 3) -> dict[str, float]:
    """Times rounds of training on one case.

    Args:
      case: name of the case.
      batches: per timed call.
      repeats: timed calls; the fastest counts.
    """
    config = SiitConfig(
        round_batches=batches, max_batches=batches * (repeats + 1), threshold=0.9999
    )
    compiled = compile_case(case)
    alignment = align(compiled)
    start = time.perf_counter()
    problem = make_problem(compiled, alignment, jax.random.key(0), n_pairs=20_000)
    jax.block_until_ready(problem.base_target)
    problem_seconds = time.perf_counter() - start
    training, held_out = problem.split(config.held_out)
    validation = held_out.take(slice(16))  # next to nothing: training is what is timed
    state = init_states(members(config), problem, alignment.config)
    seconds = []
    compile_seconds = 0.0
    for _ in range(repeats + 1):
        fresh = state._replace(done=jnp.zeros(1, bool))
        with stopwatch() as taken:
            state = advance(fresh, training, validation, model=alignment.config, config=config)
            jax.block_until_ready(state.params)
        compile_seconds += taken.compiling
        seconds.append(taken.total - taken.compiling)
    return {
        "ours_s": min(seconds[1:]) / batches,
        "batches_per_second": batches / min(seconds[1:]),
        "compile_s": compile_seconds,
        "problem_s": problem_seconds,
    }


def main(
    cases: tuple[str, ...] = ("3", "13", "2"),
    *,
    as_json: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> None:
    """Measure training speed.

    Args:
      cases: names of cases.
      as_json: print nothing but the JSON line.
    """
    console = Console(quiet=as_json)
    results = {}
    for case in cases:
        results[case] = {key: round(value, 5) for key, value in measure(case).items()}
        console.print(f"case {case}: {results[case]}", highlight=False)
    print(json.dumps(results))


if __name__ == "__main__":
    tyro.cli(main)
