"""Compares an accelerator with the CPU: equality of results, and speed.

Run: `python benchmarks/accelerator.py --out accelerator.jsonl`, within 8 minutes on one GPU, or
with `--small` in a minute or two on a CPU. Each result is written immediately, as a JSON line. The
same command goes on after an interruption, or when its time was over: results in the file are not
measured again, and training continues after its last round. The last lines printed are a table of
all results.

Parts: `parity` with the CPU of the same machine; `rates` of training; `many` thresholds
or penalties compared with one; `group`, tasks of one shape trained together; `estimate` for the
whole suite.
"""

import concurrent.futures
import contextlib
import functools
import json
import math
import multiprocessing
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from many_at_once import discovery, measure

import interpbench_jax as ib
from interpbench_jax.benchmark.stopwatch import stopwatch
from interpbench_jax.discovery import METHODS, ContrastBatch, Learning, usual_loss
from interpbench_jax.files import to_json
from interpbench_jax.model import forward
from interpbench_jax.siit import (
    EdgeChecks,
    SiitConfig,
    TrainState,
    edge_agreement,
    init_states,
    init_states_together,
    members,
    preset,
    same_shape,
    train_together,
    usual_checks,
)
from interpbench_jax.siit.train import advance, are_over
from interpbench_jax.zoo import Prepared, prepare, read_recipes
from interpbench_jax.zoo.checkpoints import Checkpoints

Part = Literal["parity", "rates", "many", "group", "estimate"]
_REFERENCE = "--reference"
_CALLS = 2


class Sizes(NamedTuple):
    """How much to measure."""

    models: tuple[str, ...] = ("3", "13", "21")
    inputs: int = 256
    sets: int = 100
    members: tuple[int, ...] = (1, 32, 512)
    batches: int = 100
    pairs: int = 20_000
    many_inputs: int = 1_000
    thresholds: int = 20
    penalties: int = 16
    tasks: int = 51
    group_batches: int = 6_000


_SMALL = Sizes(
    models=("3",),
    inputs=16,
    sets=4,
    members=(1, 2),
    batches=2,
    pairs=500,
    many_inputs=16,
    thresholds=2,
    penalties=2,
    tasks=2,
    group_batches=4,
)


class Record:
    """Results on disk, a JSON line each; those of an earlier run are kept.

    The last line of a name counts. A result with `unfinished` is measured again.
    """

    def __init__(self, file: Path, until: float = math.inf) -> None:
        """Reads the results of an earlier run; after the time `until`, nothing is begun."""
        self.file, self.until = file, until
        lines = file.read_text().splitlines() if file.exists() else []
        self.failed: list[str] = []
        self.found = {line.pop("name"): line for line in map(json.loads, lines)}

    def has(self, name: str) -> bool:
        """Whether a result exists and is finished."""
        return name in self.found and "unfinished" not in self.found[name]

    def lacks(self, *names: str) -> bool:
        """Whether one of these is missing, and there is time to measure it."""
        return time.perf_counter() <= self.until and not all(map(self.has, names))

    def add(self, name: str, work: Callable[[], dict[str, Any]]) -> None:
        """Runs `work` unless its result exists; an error is only printed, and retried later."""
        if self.has(name):
            return
        if time.perf_counter() > self.until:
            print(f"{name}: no time left; the same command measures it", flush=True)
            return
        start = time.perf_counter()
        try:
            result = work()
        except Exception as error:  # other measurements continue
            print(f"{name}: {type(error).__name__}: {str(error)[:500]}", flush=True)
            self.failed.append(name)
            return
        device = jax.devices()[0].device_kind
        result |= {"device": device, "took_s": round(time.perf_counter() - start, 1)}
        self.found[name] = result
        with self.file.open("a") as lines:
            lines.write(to_json({"name": name} | result) + "\n")
        print(name, to_json(result), flush=True)


# Parity


class Inputs(NamedTuple):
    """Inputs and patched edges, drawn on the CPU and passed to the accelerator."""

    batch: ContrastBatch
    checks: EdgeChecks


def look(name: str, given: Inputs) -> dict[str, np.ndarray]:
    """Logits, agreement under sets of edges and EAP scores of a bundled model."""
    model = ib.load_model(name)
    batch, checks = jax.tree.map(jnp.asarray, given)
    loss = usual_loss("eap", model.task.categorical)
    found = {
        "logits": forward(model.params, model.config, batch.clean)[0],
        "edges": edge_agreement(model.params, model.config, checks),
        "eap": METHODS["eap"](model.params, model.config, batch, loss),
    }
    return {name: np.asarray(array) for name, array in found.items()}


def draw_inputs(name: str, sizes: Sizes) -> Inputs:
    """Inputs of a bundled model, and sets of edges with the algorithm's answers."""
    model = ib.load_model(name)
    key = jax.random.key(0)
    batch = ib.benchmark.make_contrast(model, key, n_inputs=sizes.inputs)
    task = model.task
    pairs = task.pairs(task.split(0.2), "train", sizes.inputs, key)
    checks = usual_checks(task, model.alignment, pairs, key, n_random=sizes.sets)
    return Inputs(*jax.tree.map(np.asarray, (batch, checks)))


def on_the_cpu(sizes: Sizes) -> dict[str, tuple[Inputs, dict[str, np.ndarray]]]:
    """Inputs and results by model, computed by a process that has only the CPU."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "reference"
        file.write_bytes(pickle.dumps(sizes._asdict()))
        subprocess.run([sys.executable, __file__, _REFERENCE, file], env=_of_cpu(), check=True)
        return pickle.loads(file.read_bytes())


def _reference(file: Path) -> None:
    sizes = Sizes(**pickle.loads(file.read_bytes()))
    inputs = {name: draw_inputs(name, sizes) for name in sizes.models}
    found = {name: (given, look(name, given)) for name, given in inputs.items()}
    file.write_bytes(pickle.dumps(found))


def _of_cpu() -> dict[str, str]:
    return os.environ | {"JAX_PLATFORMS": "cpu"}


def parity(record: Record, sizes: Sizes) -> None:
    """Largest differences from the CPU."""
    if not record.lacks(*(f"parity {model}" for model in sizes.models)):
        return
    reference = on_the_cpu(sizes)

    def differences(model: str) -> dict[str, Any]:
        given, expected = reference[model]
        found = look(model, given)
        return {
            kind: float(np.abs(found[kind] - array).max()) for kind, array in expected.items()
        } | {f"largest_{kind}": float(np.abs(expected[kind]).max()) for kind in ("logits", "eap")}

    for model in sizes.models:
        record.add(f"parity {model}", functools.partial(differences, model))


# Training


def rates(record: Record, sizes: Sizes) -> None:
    """Batches per second of each member on case 13, without compilation."""
    names = {name: preset(name, "13") for name in ("edge-siit", "siit")}
    for name in names:
        if not record.lacks(*(f"rate {name} {n}" for n in sizes.members)):
            continue
        config = replace(
            names[name],
            n_pairs=sizes.pairs,
            edge_rows=sizes.pairs,
            round_batches=sizes.batches,
            max_batches=sizes.batches,
            threshold=1.0,
        )
        task = prepare("13", members(config))
        validation = task.training.take(slice(1))._replace(checks=None)  # only training is timed

        def rate(
            n: int,
            config: SiitConfig = config,
            task: Prepared = task,
            validation: Any = validation,
        ) -> dict[str, Any]:
            network = task.alignment.network
            with stopwatch() as starting:
                state = init_states(members(config, seeds=range(n)), validation, network)
                jax.block_until_ready(state.params)
            seconds, compiling = [], 0.0
            for _ in range(1 + _CALLS):
                with stopwatch() as taken:
                    done = advance(state, task.training, validation, model=network, config=config)
                    jax.block_until_ready(done.params)
                seconds.append(taken.total)
                compiling += taken.compiling
            return {
                "members": n,
                "compile_s": round(compiling, 2),
                "start_s": round(starting.total, 2),
                "batches_per_s": round(sizes.batches / min(seconds[1:]), 2),
                "models_times_batches_per_s": round(n * sizes.batches / min(seconds[1:]), 1),
            }

        for n in sizes.members:
            record.add(f"rate {name} {n}", functools.partial(rate, n))


def many(record: Record, sizes: Sizes) -> None:
    """Thresholds of ACDC and penalties of edge probing, compared with one of each."""
    for case in sizes.models[:2]:
        for method, n in (("acdc", sizes.thresholds), ("edge_probing", sizes.penalties)):

            def ratio(case: str = case, method: str = method, n: int = n) -> dict[str, Any]:
                learning = Learning(steps=sizes.batches, batch_size=sizes.inputs)
                work = discovery(case, method, learning, n_inputs=sizes.many_inputs)
                return {key: round(x, 4) for key, x in measure(work, n).items()}

            record.add(f"many {method} {case}", ratio)


class OutOfTimeError(Exception):
    """Training took too long."""


def group(record: Record, sizes: Sizes) -> None:
    """The largest group of cases of one shape, by `edge-siit`, one seed each."""
    config = replace(
        preset("edge-siit", ""),
        max_batches=sizes.group_batches,
        round_batches=min(250, -(-sizes.group_batches // 2)),
        n_pairs=max(sizes.pairs, 2_000),
        edge_rows=2 * sizes.pairs,
    )
    folder = record.file.with_suffix(".group")
    record.add("group", lambda: train_group(config, sizes.tasks, folder, record.until))


def train_group(config: SiitConfig, n_tasks: int, folder: Path, until: float) -> dict[str, Any]:
    """Trains tasks of one shape together, with one seed each, and measures it.

    Args:
      config: settings of the training.
      n_tasks: maximum number of tasks.
      folder: where the state after each round is kept, from which a later call goes on.
      until: time after which training stops with its round.
    """
    start = time.perf_counter()
    with workers() as pool:
        names = largest_group(pool, n_tasks)
        tasks = list(pool.map(prepare, names, [members(config)] * len(names)))
    prepared = time.perf_counter()
    models = [task.alignment.network for task in tasks]
    validation = [task.validation for task in tasks]
    settings = {"cases": names, "config": asdict(config)}
    clock: list[float] = []
    with Checkpoints(folder, settings, resume=True) as checkpoints:
        state = init_states_together(validation, models, members(config))
        if (saved := checkpoints.latest(state)) is not None:
            state = saved.state
        begun, seconds = state.round, 0.0 if saved is None else saved.seconds
        last = [state]

        def after_round(state: TrainState) -> None:
            clock.append(time.perf_counter())
            last[:] = [state]
            checkpoints.save(state, seconds + clock[-1] - prepared)
            if clock[-1] > until:
                raise OutOfTimeError

        with stopwatch() as taken, contextlib.suppress(OutOfTimeError):
            train_together(
                [task.training for task in tasks],
                models,
                members(config),
                validation=validation,
                state=state,
                on_round=after_round,
            )
    (state,) = last
    over = np.asarray(are_over(state, config))
    reached = np.asarray(state.done & ~state.diverged)[:, 0]
    batches = np.asarray(state.round)[:, 0] * config.round_batches
    worst = np.asarray(state.best_score)[:, 0].round(4).tolist()
    found = {
        "cases": len(names),
        "prepare_s": round(prepared - start, 1),
        "compile_s": round(taken.compiling, 1),
        "train_s": round(seconds + time.perf_counter() - prepared, 1),
        "batches": int(batches.max()),
        "reached": int(reached.sum()),
        "batches_to_threshold": sorted(batches[reached].tolist()),
        "worst": dict(zip(names, worst, strict=True)),
    }
    if clock:
        found["first_round_s"] = round(clock[0] - prepared, 1)
    if len(clock) > 1:
        n_batches = int((state.round - begun).max() - 1) * config.round_batches
        found["batches_per_s"] = round(n_batches / (clock[-1] - clock[0]), 1)
    if not over.all():
        found["unfinished"] = int((~over.all(1)).sum())
    return found


@contextlib.contextmanager
def workers() -> Iterator[concurrent.futures.Executor]:
    """A process per core for work on tasks, on the CPU."""
    n = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    before = dict(os.environ)
    one_core = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    os.environ |= _of_cpu() | {"XLA_FLAGS": one_core}
    spawn = multiprocessing.get_context("spawn")
    try:
        with concurrent.futures.ProcessPoolExecutor(n, spawn) as pool:
            yield pool
    finally:
        os.environ.clear()
        os.environ |= before


def largest_group(pool: concurrent.futures.Executor, n: int) -> list[str]:
    """Names of at most `n` cases that share the most frequent shape."""
    names = ib.case_names() if n > 2 else ("8", "20", "13")
    found = list(pool.map(_shape, names))
    places = max(same_shape(*map(list, zip(*found, strict=True))), key=len)
    return [names[place] for place in places][:n]


def _shape(name: str) -> tuple[Any, bool]:
    task = ib.get_task(name)
    return task.network, task.categorical


def estimate(record: Record) -> None:
    """Seconds of the whole suite: every shape compiled once, its cases trained together.

    A shape takes as many batches as its slowest bundled model, at the rate of 32 members. Both
    times are taken as proportional to layers; wide models take longer.
    """
    rate = record.found.get("rate edge-siit 32") or record.found.get("rate edge-siit 2")
    if rate is None:
        return

    def work() -> dict[str, Any]:
        models = [ib.load_model(recipe.name, on_device=False) for recipe in read_recipes("suite")]
        configs = [model.config for model in models]
        labels = [config.d_vocab_out > 1 for config in configs]  # a regression has one output
        shapes = same_shape(configs, labels)
        layers = [configs[places[0]].n_layers / 2 for places in shapes]  # case 13 has two
        batches = [max(models[place].card["batches"] for place in places) for places in shapes]
        training = sum(n * size for n, size in zip(batches, layers, strict=True))
        return {
            "models": len(models),
            "shapes": len(shapes),
            "members": rate["members"],
            "compile_s": round(rate["compile_s"] * sum(layers)),
            "train_s": round(training / rate["batches_per_s"]),
        }

    record.add("estimate", work)


# The table


def table(record: Record) -> str:
    """A line per result."""
    lines = []
    for name, found in record.found.items():
        shown = {
            key: f"{x:.3g}" if isinstance(x, float) else str(x)
            for key, x in found.items()
            if isinstance(x, int | float) and key != "took_s"
        }
        lines.append(f"{name:26} " + "  ".join(f"{key} {x}" for key, x in shown.items()))
    return "\n".join(lines)


def main(
    out: Path = Path("accelerator.jsonl"),
    *,
    parts: tuple[Part, ...] = get_args(Part),
    small: bool = False,
    tasks: int | None = None,
    group_batches: int | None = None,
    seconds: float = 470.0,
) -> int:
    """Measure, and write each result immediately.

    The exit status is 1 if a measurement failed.

    Args:
      out: file for the results; results in it are not measured again.
      parts: what to measure.
      small: measure very little of each part, to test that it runs.
      tasks: maximum number of tasks in the group.
      group_batches: maximum number of batches that the group is trained for.
      seconds: after this time, nothing is begun, and training of the group stops after its round.
    """
    until = time.perf_counter() + seconds
    sizes = _SMALL if small else Sizes()
    sizes = sizes._replace(
        tasks=sizes.tasks if tasks is None else tasks,
        group_batches=sizes.group_batches if group_batches is None else group_batches,
    )
    record = Record(out, until)
    print(f"{jax.devices()[0].device_kind}, jax {jax.__version__}", flush=True)
    if "parity" in parts:
        parity(record, sizes)
    if "rates" in parts:
        rates(record, sizes)
    if "many" in parts:
        many(record, sizes)
    if "group" in parts:
        group(record, sizes)
    if "estimate" in parts:
        estimate(record)
    print(table(record))
    return int(bool(record.failed))


if __name__ == "__main__":
    if sys.argv[1:2] == [_REFERENCE]:
        _reference(Path(sys.argv[2]))
    else:
        sys.exit(tyro.cli(main))
