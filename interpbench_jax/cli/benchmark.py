"""`interpbench benchmark`."""

import itertools
import shlex
import sys
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from interpbench_jax.benchmark.own_method import named_methods
from interpbench_jax.benchmark.plan import (
    ModelSource,
    Run,
    bundled_models,
    compiled_models,
    is_program,
    make_plan,
    share_of,
    stored_models,
)
from interpbench_jax.benchmark.results_store import Store
from interpbench_jax.cli.output import OUT, counting_bar, print_line, print_table
from interpbench_jax.files import make_directory

if TYPE_CHECKING:
    import polars as pl

# Columns of the results, and their names on the terminal.
_SHOWN = {
    "edge_auroc": "edges",
    "node_auroc": "nodes",
    "edge_ap": "AP",
    "cpr": "CPR",
    "seconds": "seconds",
}


def benchmark(
    *,
    cases: tuple[str, ...] = (),
    models: tuple[Path, ...] = (),
    at_bar: bool = False,
    compiled: bool = False,
    methods: tuple[str, ...] = ("eap", "eap_ig_masks", "acdc"),
    ablations: tuple[str, ...] = ("resample",),
    seeds: tuple[int, ...] = (0,),
    n_inputs: tuple[int, ...] = (1_000,),
    selection: str = "usual",
    share: str = "0/1",
    processes: int = 1,
    retry_failed: bool = False,
    dry_run: bool = False,
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = OUT / "benchmark",
) -> int:
    """Run methods on models and store every result; call again to continue after an interruption.

    Every combination of model, method, ablation, number of inputs and seed is a run. Its result,
    with all scores, is written to DIR/runs when it is done; runs that have a result are skipped. A
    run that fails does not stop the others, but the exit status is then 1. Show results with
    `interpbench report DIR`.

    Args:
      cases: cases whose models are used; by default all bundled ones, or all in `--models`.
      models: directories of models, or directories that contain them, instead of bundled models.
      at_bar: of the bundled models, use only those that meet the bar of the suite.
      compiled: use the models that Tracr compiles from the cases instead of trained ones.
      methods: names of methods, `all` for every method of the package, or your own:
        `module:function` with the module in the working directory or installed, or
        `file.py:function`.
      ablations: replacement of the values of patched edges: resample, mean, mean_per_position,
        zero, optimal.
      seeds: seeds of the inputs and of a method's own randomness.
      n_inputs: clean and corrupted inputs to draw, for methods, and as many others for circuits;
        several numbers show how many a method needs.
      selection: how scores become circuits: top_n takes the best edges, greedy searches from the
        logits; usual is the selection of each method's paper.
      share: run one of several parts, such as 0/4 to 3/4 in four processes or on four machines;
        their results may go to one directory or be merged by copying.
      processes: number of parallel processes; useful as XLA compiles on one core, but measured
        times are then less exact.
      retry_failed: repeat failed runs.
      dry_run: print the plan and stop.
      out: directory of the results.
    """
    sources = _sources(cases, models, at_bar, compiled)
    plan = make_plan(sources, named_methods(methods), ablations, seeds, n_inputs, selection)
    mine = share_of(plan, share)
    _print_plan(plan, mine, share)
    if dry_run:
        _to_do(mine, Store(out), retry_failed)
        return 0
    return carry_out(mine, Store(out), processes=processes, retry_failed=retry_failed)


def carry_out(
    runs: Sequence[Run], store: Store, *, processes: int = 1, retry_failed: bool = False
) -> int:
    """Executes the runs that have no result yet, and prints the results of all runs.

    Args:
      runs: the runs, in the order of `make_plan`.
      store: the store of results.
      processes: number of parallel processes.
      retry_failed: repeat failed runs.

    Returns:
      The exit status: 1 if one of the runs failed, now or earlier.

    Raises:
      ValueError: a method or a model cannot be loaded, or results cannot be written (raised before
        the first run).
      KeyboardInterrupt: interrupted; the message says how to continue.
    """
    todo = _to_do(runs, store, retry_failed)
    if todo:
        try:
            _work_off(todo, store, processes)
        except KeyboardInterrupt:
            raise KeyboardInterrupt("run the same command again to continue") from None
    return _print_results(store, runs)


def _sources(
    cases: tuple[str, ...], models: tuple[Path, ...], at_bar: bool, compiled: bool
) -> list[ModelSource]:
    given = {"--compiled": compiled, "--models": bool(models), "--at-bar": at_bar}
    if len(chosen := [name for name, is_given in given.items() if is_given]) > 1:
        raise ValueError(f"{' and '.join(chosen)} exclude each other")
    if at_bar:
        from interpbench_jax.zoo import below_bar, load_model

        return [
            m for m in bundled_models(cases) if not below_bar(load_model(m.name).card["metrics"])
        ]
    if models:
        return stored_models(models, cases)
    trained = [] if compiled and cases else bundled_models(cases)
    programs = [model.case for model in trained if is_program(model.case)]
    return compiled_models(cases or programs) if compiled else trained


def _print_plan(plan: Sequence[Run], mine: Sequence[Run], share: str) -> None:
    def names(kind: str, given: list[Any]) -> str:
        listed = list(dict.fromkeys(map(str, given)))
        shown = ", ".join(listed[:8]) + (", ..." if len(listed) > 8 else "")
        return f"{len(listed)} {kind}{'s' * (len(listed) != 1)} ({shown})"

    parts = [
        names("model", [run.model.name for run in plan]),
        names("method", [run.method for run in plan]),
        names("ablation", [run.ablation for run in plan]),
        names("seed", [run.seed for run in plan]),
        names("number", [run.n_inputs for run in plan]) + " of inputs",
    ]
    print_line(f"{len(plan)} runs: " + " x ".join(parts))
    if len(mine) < len(plan):
        print_line(f"share {share}: {len(mine)} of them")


def _to_do(runs: Sequence[Run], store: Store, retry_failed: bool) -> list[Run]:
    """The runs without a result, and failed runs to retry; prints their number."""
    status = store.status()
    of = {kind: [r for r in runs if status.get(r.id) == kind] for kind in ("done", "failed")}
    todo = [r for r in runs if r.id not in status or (retry_failed and status[r.id] == "failed")]
    groups = len({run.compile_group for run in todo})
    parts = [f"{len(of['done'])} done", f"{len(todo)} to do"]
    if of["failed"] and not retry_failed:
        parts.insert(1, f"{len(of['failed'])} failed (--retry-failed repeats them)")
    if todo:
        parts.append(f"in {groups} compile group{'s' * (groups != 1)}")
    print_line(", ".join(parts))
    return todo


def _work_off(todo: list[Run], store: Store, processes: int) -> None:
    from interpbench_jax.benchmark.execution import check_setup, execute
    from interpbench_jax.benchmark.processes import in_processes

    check_setup(todo)
    make_directory(store.directory)
    work = partial(execute, store=store, command="interpbench " + shlex.join(sys.argv[1:]))
    groups = [list(runs) for _, runs in itertools.groupby(todo, lambda run: run.model.shape)]
    with (
        counting_bar() as progress,
        closing(in_processes(work, groups, processes)) as rows,
    ):
        task = progress.add_task(f"first: {_label(todo[0])}", total=len(todo))
        label = {run.id: _label(run) for run in todo}
        for row in rows:
            if row["status"] == "failed":
                progress.console.print(f"failed: {row['id']}: {row['error']}", markup=False)
            progress.update(task, advance=1, description=f"{row['status']}: {label[row['id']]}")


def _label(run: Run) -> str:
    return f"{run.model.name}  {run.method}  {run.ablation}  {run.n_inputs} inputs  seed {run.seed}"


def _print_results(store: Store, runs: Sequence[Run]) -> int:
    """Prints the results of runs, and returns the exit status."""
    import polars as pl

    rows = store.read(columns=("id", "status", "error", "method", *_SHOWN))
    rows = rows.filter(pl.col("id").is_in([run.id for run in runs]))
    done, failed = (rows.filter(pl.col("status") == status) for status in ("done", "failed"))
    if len(done):
        headers = ("method", "runs", *_SHOWN.values())
        print_table(f"AUROC and more, means over {len(done)} runs", headers, _means(done))
    for row in failed.iter_rows(named=True):
        print_line(f"failed: {row['id']}: {row['error']}")
    for fault in store.unreadable().values():
        print_line(f"left out: {fault}")
    again = "; --retry-failed repeats these" if len(failed) else ""
    print_line(
        f"{len(rows)} of {len(runs)} runs have a result, {len(failed)} of them an error{again}"
    )
    print_line(f"show them: interpbench report {store.directory}")
    return int(len(failed) > 0)


def _means(done: "pl.DataFrame") -> list[tuple[str, ...]]:
    import polars as pl

    means = done.group_by("method").agg(pl.len(), *(pl.col(name).mean() for name in _SHOWN))
    return [
        (method, str(n), *("" if mean is None else f"{mean:.3f}" for mean in row))
        for method, n, *row in means.sort(
            "edge_auroc", descending=True, nulls_last=True
        ).iter_rows()
    ]
