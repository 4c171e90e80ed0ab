"""How much longer do many computations take than one, if a device can run them in parallel?

Measures models trained together, thresholds of ACDC and penalties of edge probing, on JAX's default
device, in one process. Run: `.venv/bin/python benchmarks/many_at_once.py --cases 3 13`. The last
line printed is JSON: seconds for one and for many (fastest of a few calls), and their ratio.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import tyro
from timing import timed

import interpbench_jax as ib
from interpbench_jax.alignment import align
from interpbench_jax.benchmark.stopwatch import stopwatch
from interpbench_jax.discovery import METHODS, Learning, usual_loss
from interpbench_jax.files import to_json
from interpbench_jax.siit import SiitConfig, init_states, make_problem, members
from interpbench_jax.siit.train import advance

_CALLS = 3
_ROWS = 256  # of each step of probing
# Smallest, the one used alone, largest: thresholds and weights of the penalty.
_SETTINGS = {"acdc": (1e-5, 1e-2, 10.0), "edge_probing": (0.01, 1.0, 100.0)}

Work = Callable[[int], Callable[[], Any]]
"""Returns the function to be timed for a given number."""


def training(case: str, batches: int) -> Work:
    """Trains every member on `batches` batches of 256 pairs."""
    compiled = ib.compile_case(case)
    alignment = align(compiled)
    problem = make_problem(compiled, alignment, jax.random.key(0), n_pairs=20_000)
    validation = problem.take(slice(1))  # minimal: only training is timed
    config = SiitConfig(round_batches=batches, max_batches=batches, threshold=1.0)

    def work(n: int) -> Callable[[], Any]:
        state = init_states(members(config, seeds=range(n)), problem, alignment.network)
        return lambda: advance(state, problem, validation, model=alignment.network, config=config)

    return work


def discovery(case: str, method: str, learning: Learning, *, n_inputs: int = 1_000) -> Work:
    """ACDC for every threshold, or edge probing for every penalty."""
    model = ib.load_model(case)
    batch = ib.benchmark.make_contrast(model, jax.random.key(0), n_inputs=n_inputs)
    loss = usual_loss(method, batch.categorical)
    given = model.params, model.config, batch, loss

    def work(n: int) -> Callable[[], Any]:
        low, middle, high = _SETTINGS[method]
        values = tuple(np.geomspace(low, high, n).tolist()) if n > 1 else (middle,)
        if method == "acdc":
            return lambda: METHODS[method](*given, thresholds=values)
        return lambda: METHODS[method](*given, penalties=values, learning=learning)

    return work


def measure(work: Work, many: int) -> dict[str, float]:
    """Times one and many; the fastest call of each counts, without compilation."""
    found: dict[str, float] = {}
    for name, n in (("one", 1), ("many", many)):
        run = work(n)
        with stopwatch() as first:
            jax.block_until_ready(run())
        seconds = [timed(run)[0] for _ in range(_CALLS)]
        found |= {f"{name}_s": min(seconds), f"{name}_compile_s": first.compiling}
    return found | {"n": many, "ratio": found["many_s"] / found["one_s"]}


def main(
    cases: tuple[str, ...] = ("3", "13"),
    *,
    n_members: int = 32,
    n_thresholds: int = 20,
    n_penalties: int = 16,
    batches: int = 100,
) -> None:
    """Compare the time of many with that of one.

    Args:
      cases: names of cases that have a bundled model.
      n_members: number of models trained together.
      n_thresholds: number of thresholds of ACDC.
      n_penalties: number of penalties of edge probing.
      batches: batches of training and of probing in each call.
    """
    learning = Learning(steps=batches, batch_size=_ROWS)
    results: dict[str, Any] = {"device": jax.devices()[0].device_kind}
    for case in cases:
        for name, work, many in (
            ("training", training(case, batches), n_members),
            ("acdc", discovery(case, "acdc", learning), n_thresholds),
            ("edge_probing", discovery(case, "edge_probing", learning), n_penalties),
        ):
            found = measure(work, many)
            results[f"{case} {name}"] = {key: round(x, 5) for key, x in found.items()}
            print(
                f"case {case}, {name}: one {found['one_s']:.3f} s, {many}"
                f" {found['many_s']:.3f} s: {found['ratio']:.1f} times",
                flush=True,
            )
    print(to_json(results))


if __name__ == "__main__":
    tyro.cli(main)
