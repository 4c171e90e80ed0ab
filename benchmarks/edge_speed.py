"""Speed of training by patched edges, compared with patched nodes, and where the time goes.

Run: `.venv/bin/python benchmarks/edge_speed.py [--cases 3 13] [--json]`. Both presets, `edge-siit`
and `siit`, train the same task on this process's devices (one for each core). For each: seconds to
compile, batches per second, seconds until the threshold is reached (compilation included), and the
worst agreement of the trained model under sets of patched edges on held-out sequences. The parts of
a batch are timed on one device, and so is the validation after a round, of a model that fails: as
training does it, and with every check. The last line printed is JSON.
"""

import functools
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import tyro
from rich.console import Console
from rich.table import Table
from timing import seconds_of_calls, timed

from interpbench_jax.files import to_json
from interpbench_jax.siit import (
    Member,
    SiitConfig,
    cores_as_devices,
    device_mesh,
    draw_edge_batch,
    edge_agreement,
    edge_losses,
    init_states,
    preset,
    train_siit,
    usual_checks,
)
from interpbench_jax.siit.mesh import copy_everywhere, spread_members
from interpbench_jax.siit.train import advance
from interpbench_jax.siit.validation import scores_and_finiteness
from interpbench_jax.tasks import Pairs
from interpbench_jax.zoo import Prepared, prepare

_BATCHES = 100
_CALLS = 5
_CHECKED = 500
console = Console()


def main(cases: tuple[str, ...] = ("3", "13"), as_json: bool = False) -> None:
    """Measure.

    Args:
      cases: tasks to train on.
      as_json: print only the JSON line.
    """
    cores_as_devices(1, preset("edge-siit", "3").batch_size)
    found: dict[str, Any] = {}
    for case in cases:
        for name in ("edge-siit", "siit"):
            config = preset(name, case)
            start = time.perf_counter()
            task = prepare(case, (Member(0, config),))
            prepared = time.perf_counter() - start
            result = train_siit(
                task.training,
                task.alignment.network,
                config,
                validation=task.validation,
                mesh=device_mesh(1, config.batch_size),
            )
            jax.block_until_ready(result.params)
            seconds = time.perf_counter() - start
            found[f"{case}/{name}"] = {
                "seconds": seconds,
                "of_which_prepared": prepared,
                "batches": config.batches_after(int(result.rounds[0])),
                "worst_set_of_edges": _worst_set(task, result.params),
                **_rate(task, config),
                **({"parts_ms": _parts(task, config)} if name == "edge-siit" else {}),
            }
    if not as_json:
        _print(found)
    print(to_json(found))


def _worst_set(task: Prepared, params: Any) -> float:
    """Worst agreement over single edges, all edges outside together, and 200 random sets."""
    test = jax.device_get(task.test.take(slice(_CHECKED)))
    some = Pairs(test.base, test.source, test.position_weights)
    checks = usual_checks(task.task, task.alignment, some, jax.random.key(7), n_random=200)
    trained = jax.tree.map(lambda leaf: jnp.asarray(jax.device_get(leaf[0])), params)
    return float(edge_agreement(trained, task.alignment.network, checks).min())


def _rate(task: Prepared, config: SiitConfig) -> dict[str, float]:
    """Seconds to compile a round, and batches per second, almost without validation."""
    endless = replace(config, round_batches=_BATCHES, max_batches=10**6, threshold=1.0)
    nothing = task.validation._replace(checks=None).take(slice(1))
    state = init_states((Member(0, endless),), nothing, task.alignment.network)
    training, mesh = task.training, device_mesh(1, config.batch_size)
    if mesh is not None:
        state = spread_members(state, mesh)
        training, nothing = copy_everywhere((training, nothing), mesh)

    def work() -> Any:
        return advance(
            state, training, nothing, model=task.alignment.network, config=endless, mesh=mesh
        )

    first, _ = timed(work)
    seconds = min(seconds_of_calls(work, _CALLS))
    return {"compile_s": first - seconds, "batches_per_second": _BATCHES / seconds}


def _parts(task: Prepared, config: SiitConfig) -> dict[str, float]:
    """Milliseconds of drawing a batch, its losses, their gradient, and of a round's validation."""
    network, sets = task.alignment.network, task.training.edges
    assert sets is not None
    params = init_states((Member(0, config),), task.validation, network).params
    params = jax.tree.map(lambda leaf: leaf[0], params)

    @jax.jit
    def draw(key: jax.Array) -> Any:
        return draw_edge_batch(
            sets,
            key,
            batch_size=config.batch_size,
            outside_rows=config.outside_rows,
            single_rows=config.single_rows,
        )

    losses = jax.jit(lambda params, batch: edge_losses(params, network, batch).sum())
    gradient = jax.jit(jax.grad(lambda params, batch: edge_losses(params, network, batch).sum()))
    batch = draw(jax.random.key(0))
    parts: dict[str, Callable[[], Any]] = {
        "draw": lambda: draw(jax.random.key(0)),
        "losses": lambda: losses(params, batch),
        "losses_and_gradient": lambda: gradient(params, batch),
    }
    validation = task.validation.take(slice(config.validation_pairs))
    score = jax.jit(functools.partial(scores_and_finiteness, model=network, problem=validation))
    rounds: dict[str, Callable[[], Any]] = {
        "validation": lambda: score(params, threshold=config.threshold),
        "validation_by_every_check": lambda: score(params),
    }
    calls = dict.fromkeys(parts, 4 * _CALLS) | dict.fromkeys(rounds, 1)
    return {
        part: 1e3 * min(seconds_of_calls(work, calls[part]))
        for part, work in (parts | rounds).items()
    }


def _print(found: dict[str, Any]) -> None:
    table = Table(title=f"on {len(jax.devices())} devices: {jax.devices()[0].device_kind}")
    headers = ("task, preset", "to threshold", "batches", "worst set", "compile", "batches/s")
    for header in headers:
        table.add_column(header)
    for name, row in found.items():
        table.add_row(
            name,
            f"{row['seconds']:.1f} s",
            str(row["batches"]),
            f"{row['worst_set_of_edges']:.4f}",
            f"{row['compile_s']:.1f} s",
            f"{row['batches_per_second']:.0f}",
        )
    console.print(table)
    for name, row in found.items():
        if parts := row.get("parts_ms"):
            text = ", ".join(f"{part} {ms:.2f} ms" for part, ms in parts.items())
            console.print(f"{name}, on one device: {text}")


if __name__ == "__main__":
    tyro.cli(main)
