"""Compares the speed of SIIT with PyTorch: seconds per batch, memory, compile time, drawing data.

Run: `.venv/bin/python benchmarks/siit_speed.py [--cases 3 13 2] [--peer-python PATH] [--json]`. A
batch is 256 pairs with all three losses and one optimizer step; targets are computed in advance.
The peer is `siit_torch.py`, run by a Python that has the packages of the group `peers`. Both train
on the same problem from the same weights, taking turns; their losses on the first batch must agree.
The last line printed is JSON.
"""

import concurrent.futures
import json
import multiprocessing
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from peak_memory import peak_mb
from peer import model_arrays, peer_is_missing
from rich.console import Console

from interpbench_jax.alignment import Alignment, align
from interpbench_jax.benchmark.stopwatch import stopwatch
from interpbench_jax.compiler import CompiledCase, compile_case
from interpbench_jax.files import to_json
from interpbench_jax.model import TransformerConfig
from interpbench_jax.siit import (
    SiitConfig,
    SiitProblem,
    cores_as_devices,
    device_mesh,
    init_states,
    interchange_losses,
    make_problem,
    members,
)
from interpbench_jax.siit.mesh import copy_everywhere, spread_members
from interpbench_jax.siit.train import advance

_PEER = Path(__file__).with_name("siit_torch.py")
_INSTALL = "pip install 'torch==2.13.0' 'transformer-lens>=2.0,<4'"
_IMPORTS = "import torch; from transformer_lens import HookedTransformer"
_PAIRS = 256
_TOLERANCE = 1e-4


class Ours(NamedTuple):
    """Time and memory of our training."""

    seconds: float
    cpu_seconds: float
    compile_seconds: float
    peak_mb: float


def write_problem(
    path: Path, compiled: CompiledCase, alignment: Alignment, problem: SiitProblem
) -> np.ndarray:
    """Writes everything that both sides need, and a first batch to compare them on.

    Returns:
      Our three losses on the first batch.
    """
    config = SiitConfig()
    state = init_states(members(config), problem, alignment.network)
    params = jax.tree.map(lambda weight: weight[0], state.params)
    rng = np.random.default_rng(0)
    pairs = rng.integers(problem.n_pairs, size=_PAIRS)
    variable = len(problem.variable_nodes) - 1
    chosen = rng.random(len(problem.free_nodes)) < 0.5
    free = (chosen @ np.asarray(problem.free_nodes)).astype(np.float32)
    nodes = compiled.graph.one_hot([found.node for found in compiled.variables])
    arrays: dict[str, Any] = {
        name: np.asarray(x) for name, x in problem._asdict().items() if x is not None
    }
    arrays |= model_arrays("model", params, alignment.network)
    arrays |= model_arrays("algorithm", compiled.params, compiled.config)
    arrays |= {"algorithm.variable_nodes": nodes}
    arrays |= {"first.pairs": pairs, "first.variable": variable, "first.free": free}
    np.savez(path, **arrays)
    target = problem.base_target[pairs]
    losses = jax.jit(interchange_losses, static_argnums=1)(
        params,
        alignment.network,
        problem.base[pairs],
        problem.source[pairs],
        jnp.stack([jnp.zeros_like(free), problem.variable_nodes[variable], free])[:, None],
        jnp.stack([target, problem.variable_targets[variable, pairs], target]),
        problem.position_weights[pairs],
    )
    return np.asarray(losses)


def time_ours(path: Path, model: TransformerConfig, seeds: int, batches: int, repeats: int) -> Ours:
    """Times rounds of training on the problem in a file.

    Call it in a separate process, in which each core becomes a device, as in `interpbench train`.

    Args:
      path: file with the problem.
      model: shape of the model to train.
      seeds: number of models trained together.
      batches: per timed call.
      repeats: timed calls; the fastest counts.
    """
    cores_as_devices(seeds, SiitConfig().batch_size)
    with np.load(path) as file:
        arrays: dict[str, Any] = {
            name: jnp.asarray(file[name]) for name in file.files if name in SiitProblem._fields
        }
    problem = SiitProblem(**arrays)
    # No gradient through the source's run, as in the original and in the peer.
    config = SiitConfig(round_batches=batches, max_batches=batches, source_gradient=False)
    validation = problem.take(slice(1))  # minimal: only training is timed
    state = init_states(members(config, seeds=range(seeds)), problem, model)
    mesh = device_mesh(seeds, config.batch_size)
    if mesh is not None:
        state = spread_members(state, mesh)
        problem, validation = copy_everywhere((problem, validation), mesh)
    shape: dict[str, Any] = {"model": model, "config": config, "mesh": mesh}
    seconds = []
    compile_seconds = 0.0
    for _ in range(repeats + 1):
        start = time.process_time()
        with stopwatch() as taken:
            jax.block_until_ready(advance(state, problem, validation, **shape))
        compile_seconds += taken.compiling
        seconds.append((taken.total, time.process_time() - start))
    return Ours(*min(seconds[1:]), compile_seconds, peak_mb())


def time_peer(python: str, path: Path, **options: Any) -> dict[str, Any]:
    """Runs the peer; options as on its command line."""
    command = [python, str(_PEER), str(path)]
    for name, value in options.items():
        values = value if isinstance(value, tuple | list) else [value]
        command += [f"--{name}", *map(str, values)]
    ran = subprocess.run(command, capture_output=True, text=True)
    if ran.returncode:
        raise RuntimeError(f"{_PEER.name} failed:\n{ran.stderr}")
    return json.loads(ran.stdout.splitlines()[-1])


def check_losses(case: str, ours: np.ndarray, peer: Mapping[str, list[float]]) -> None:
    """Compares the losses on the first batch.

    Raises:
      AssertionError: ours differ from the peer's, in one of the ways it computes them.
    """
    for way, losses in peer.items():
        np.testing.assert_allclose(
            losses, ours, rtol=0, atol=_TOLERANCE, err_msg=f"case {case}, peer {way}"
        )


def measure(
    case: str,
    *,
    peer_python: str | None,
    batches: int,
    rounds: int,
    population: int,
    ways: tuple[str, ...],
) -> dict[str, Any]:
    """Times ours and the peer on one case, taking turns; the best turn of each counts.

    Args:
      case: name of the case.
      peer_python: the Python that has the peer's packages; `None` measures only ours.
      batches: per timed call.
      rounds: turns of each.
      population: number of models to train together, which is timed once.
      ways: the ways that the peer tries on its first turn. Later turns repeat the fastest.
    """
    compiled = compile_case(case)
    alignment = align(compiled)
    start = time.perf_counter()
    problem = make_problem(compiled, alignment, jax.random.key(0), n_pairs=20_000)
    jax.block_until_ready(problem)
    data_seconds = time.perf_counter() - start
    ours, peer = [], []
    options: dict[str, Any] = {"ways": ways}
    spawn = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory() as folder,
        concurrent.futures.ProcessPoolExecutor(1, spawn) as worker,
    ):
        path = Path(folder) / "problem.npz"
        losses = write_problem(path, compiled, alignment, problem)
        for _ in range(rounds):
            timed = worker.submit(time_ours, path, alignment.network, 1, batches, 2)
            ours.append(timed.result())
            if peer_python is None:
                continue
            peer.append(time_peer(peer_python, path, batches=batches, repeats=2, **options))
            check_losses(case, losses, peer[-1]["losses"])
            options = {"ways": peer[-1]["way"], "threads": peer[-1]["threads"]}
        with concurrent.futures.ProcessPoolExecutor(1, spawn) as another:
            arguments = (path, alignment.network, population, batches, 2)
            together = another.submit(time_ours, *arguments).result()
    best = min(ours)
    found: dict[str, Any] = {
        "ours_s": best.seconds / batches,
        "peer_s": None,
        "ratio": None,
        "ours_cpu_s": best.cpu_seconds / batches,
        "peer_cpu_s": None,
        "compile_s": ours[0].compile_seconds,
        "data_s": data_seconds,
        "ours_mb": ours[0].peak_mb,
        "peer_mb": None,
        "population": population,
        "population_ratio": together.seconds / best.seconds,
    }
    if peer:
        quickest = min(peer, key=lambda turn: turn["seconds"])
        found |= {
            "peer_s": quickest["seconds"] / batches,
            "ratio": quickest["seconds"] / best.seconds,
            "peer_cpu_s": quickest["cpu_seconds"] / batches,
            "peer_mb": peer[-1]["peak_mb"],
            "peer_way": quickest["way"],
            "peer_threads": quickest["threads"],
            "peer_ways": {way: round(x / batches, 5) for way, x in peer[0]["ways"].items()},
        }
    return {key: round(x, 5) if isinstance(x, float) else x for key, x in found.items()}


def _readable(case: str, found: Mapping[str, Any]) -> str:
    lines = [
        f"case {case}: ours {found['ours_s'] * 1e3:.1f} ms per batch, {found['ours_mb']:.0f} MB;"
        f" compiling {found['compile_s']:.1f} s, inputs and targets {found['data_s']:.1f} s",
        f"  {found['population']} models together take"
        f" {found['population_ratio']:.1f} times as long",
    ]
    if found["ratio"] is not None:
        ways = ", ".join(f"{way} {x * 1e3:.1f} ms" for way, x in found["peer_ways"].items())
        lines += [
            f"  peer {found['peer_s'] * 1e3:.1f} ms per batch, {found['peer_mb']:.0f} MB;"
            f" {found['peer_way']}, threads: {found['peer_threads']} (first turn: {ways})",
            f"  the peer takes {found['ratio']:.2f} times as long",
        ]
    return "\n".join(lines)


def main(
    cases: tuple[str, ...] = ("3", "13", "2"),
    *,
    peer_python: str = sys.executable,
    batches: int = 50,
    rounds: int = 2,
    population: int = 8,
    peer_ways: tuple[str, ...] = ("separate", "stacked", "compiled", "computed", "hooks"),
    as_json: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> None:
    """Measure training speed, ours and the peer's.

    Args:
      cases: names of cases.
      peer_python: the Python that has PyTorch and TransformerLens.
      batches: per timed call.
      rounds: how often ours and the peer take turns.
      population: number of models to train together, to compare with one.
      peer_ways: ways of computing the losses that the peer tries; see `siit_torch.py`.
      as_json: print only the JSON line.
    """
    console = Console(quiet=as_json)
    missing = peer_is_missing(peer_python, "-c", _IMPORTS)
    if missing:
        console.print(f"{peer_python} cannot run the peer: {missing}", highlight=False)
        console.print(f"install its packages: {_INSTALL}", highlight=False)
    results = {}
    for case in cases:
        results[case] = measure(
            case,
            peer_python=None if missing else peer_python,
            batches=batches,
            rounds=rounds,
            population=population,
            ways=peer_ways,
        )
        console.print(_readable(case, results[case]), highlight=False)
    print(to_json(results))


if __name__ == "__main__":
    tyro.cli(main)
