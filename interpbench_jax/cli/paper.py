"""`interpbench paper`."""

import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from interpbench_jax.cli.benchmark import benchmark
from interpbench_jax.cli.output import OUT, console

Experiment = Literal["auroc", "effects", "realism", "weights", "sweep"]


def paper(
    *,
    cases: tuple[str, ...] = (),
    experiments: tuple[Experiment, ...] = ("auroc", "effects", "realism", "weights", "sweep"),
    processes: int = 1,
    out: Path = OUT / "paper",
) -> None:
    """Do the experiments of the InterpBench paper on the bundled models; write a page.

    What is there is not done again.

    Args:
      cases: which of the paper's; all of which models are bundled if none are named.
      experiments: `auroc`, the main table and its statistics; `effects` of nodes in Tracr, IIT and
        SIIT models; `realism`, by correlation with natural models; `weights`, their distribution;
        `sweep` over weights of the strict loss and seeds.
      processes: how many work side by side, on a case each.
      out: where to write `paper.md`, and what it is made of.
    """
    from interpbench_jax.benchmark import Store
    from interpbench_jax.benchmark.paper import (
        METHODS,
        auroc_rows,
        effect_rows,
        realism_rows,
        sweep_rows,
        weight_divergences,
        write_page,
    )

    chosen = _cases(cases)

    def auroc(cases: Sequence[str]) -> list[dict[str, Any]]:
        benchmark(cases=tuple(cases), methods=METHODS, processes=processes, out=out / "results")
        columns = ("case", "method", "status", "staircase", "edge_auroc")
        return auroc_rows(Store(out / "results").read(columns))

    def sweep(cases: Sequence[str]) -> list[dict[str, Any]]:
        return sweep_rows(cases[0])

    makers: dict[str, Callable[[Sequence[str]], Any]] = {
        "auroc": auroc,
        "effects": _each(effect_rows, out / "effects", processes),
        "realism": _each(realism_rows, out / "realism", processes),
        "weights": weight_divergences,
        "sweep": sweep,
    }
    found: dict[str, Any] = {
        name: _made(out / f"{name}.json", makers[name], chosen) for name in experiments
    }
    write_page(found, out / "paper.md")
    console.print(f"written to {out / 'paper.md'}", highlight=False, soft_wrap=True)


def _cases(asked: tuple[str, ...]) -> tuple[str, ...]:
    from interpbench_jax.benchmark.paper import published
    from interpbench_jax.zoo import bundled_names

    there = [name for name in bundled_names() if name in published()["cases"]]
    for name in asked:
        if name not in there:
            raise ValueError(f"{name!r} is none of the bundled cases of the paper: {there}")
    return asked or tuple(there)


def _each(
    make: Callable[[str], list[dict[str, Any]]], directory: Path, processes: int
) -> Callable[[Sequence[str]], list[dict[str, Any]]]:
    """A function of one case as one of many, each kept when it is done and shown as it goes."""

    def of_all(cases: Sequence[str]) -> list[dict[str, Any]]:
        from rich.progress import track

        from interpbench_jax.benchmark.processes import in_processes

        found = in_processes(partial(_rows, make, directory), cases, processes)
        title = make.__name__.removesuffix("_rows")
        of_case = dict(track(found, title, total=len(cases), console=console))
        return [row for case in cases for row in of_case[case]]

    return of_all


def _rows(
    make: Callable[[str], list[dict[str, Any]]], directory: Path, case: str
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    yield case, _made(directory / f"{case}.json", lambda cases: make(cases[0]), (case,))


def _made(file: Path, make: Callable[[Sequence[str]], Any], cases: Sequence[str]) -> Any:
    """What is in the file, or what is made and written to it if it was made of other models."""
    from interpbench_jax.benchmark.plan import bundled_models
    from interpbench_jax.files import replacing

    made_of = {model.case: model.fingerprint for model in bundled_models(cases)}
    if file.exists():
        stored = json.loads(file.read_text())
        if stored["models"] == made_of:
            return stored["found"]
    found = make(cases)
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as partial:
        partial.write_text(json.dumps({"models": made_of, "found": found}, indent=1))
    return found
