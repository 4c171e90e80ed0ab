"""`interpbench paper`."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from interpbench_jax.benchmark.plan import (
    ModelSource,
    bundled_models,
    environment,
    make_plan,
    stored_model,
    stored_models,
)
from interpbench_jax.benchmark.results_store import Store
from interpbench_jax.cli.benchmark import carry_out
from interpbench_jax.cli.output import OUT, console
from interpbench_jax.files import (
    from_json,
    make_directory,
    read_json,
    source_fingerprint,
    to_json,
    write_json,
)

Experiment = Literal["auroc", "effects", "realism", "weights", "sweep"]


def paper(
    *,
    cases: tuple[str, ...] = (),
    experiments: tuple[Experiment, ...] = (),
    models: tuple[Path, ...] = (),
    processes: int = 1,
    out: Path = OUT / "paper",
) -> None:
    """Run the experiments of the InterpBench paper on the bundled models, and write a page.

    Existing results from the same code and models are not computed again.

    With --models, the main table is repeated on other models, such as published models from
    `interpbench import`. The other experiments compare several kinds of models, which only exist
    among the bundled ones.

    Args:
      cases: cases of the paper; by default all that have models.
      experiments: `auroc`, the main table and its statistics; `effects` of nodes in Tracr, IIT and
        SIIT models; `realism`, by correlation with natural models; `weights`, their distribution;
        `sweep` over weights of the strict loss and seeds. All by default.
      models: directories of models, or directories that contain them.
      processes: number of parallel processes, on one case each.
      out: where to write `paper.md` and the data of the page.
    """
    import polars as pl

    from interpbench_jax.benchmark.paper import (
        METHODS,
        auroc_rows,
        effect_rows,
        realism_rows,
        sweep_rows,
        weight_divergences,
        write_page,
    )

    if models and set(experiments) - {"auroc"}:
        raise ValueError(
            f"--models repeats auroc only; {', '.join(experiments)} need the bundled models"
        )
    sources = _paper_models(models, cases)
    chosen = tuple(source.case for source in sources)
    make_directory(out)

    def auroc(cases: Sequence[str]) -> list[dict[str, Any]]:
        plan = make_plan(sources, METHODS, ("resample",), (0,), (1_000,))
        store = Store(out / "results")
        if carry_out(plan, store, processes=processes, retry_failed=True):
            raise ValueError("the main table needs every run, and some failed; call again to retry")
        results = store.read(("id", "case", "method", "staircase", "edge_auroc"))
        return auroc_rows(results.filter(pl.col("id").is_in([run.id for run in plan])))

    def sweep(cases: Sequence[str]) -> list[dict[str, Any]]:
        return sweep_rows(cases[0])

    makers: dict[str, Callable[[Sequence[str]], Any]] = {
        "auroc": auroc,
        "effects": _each(effect_rows, out / "effects", processes),
        "realism": _each(realism_rows, out / "realism", processes),
        "weights": weight_divergences,
        "sweep": sweep,
    }
    chosen_experiments = ["auroc"] if models else list(experiments or makers)
    used = {source.name: source.fingerprint for source in sources} if models else None
    found: dict[str, Any] = {
        name: _made(out / f"{name}.json", makers[name], chosen, used) for name in chosen_experiments
    }
    write_page(found, out / "paper.md")
    console.print(f"written to {out / 'paper.md'}", highlight=False, soft_wrap=True)


def _paper_models(places: Sequence[Path], wanted: tuple[str, ...]) -> list[ModelSource]:
    """The models of the paper's cases, one of each: bundled, or from directories.

    Raises:
      ValueError: there is no model, a requested case has none, or a case has several.
    """
    from interpbench_jax.benchmark.paper import published

    found = stored_models(places, ()) if places else bundled_models(())
    suitable = [source for source in found if source.case in published()["cases"]]
    cases = [source.case for source in suitable]
    whose = f"models in {', '.join(map(str, places))}" if places else "bundled models"
    for name in wanted or cases:
        if cases.count(name) != 1:
            raise ValueError(
                f"{cases.count(name)} of the {whose} are of case {name!r}, expected one; models of "
                f"the paper's cases: {cases}"
            )
    if not suitable:
        raise ValueError(f"none of the {whose} belongs to a case of the paper")
    return [source for source in suitable if not wanted or source.case in wanted]


def _each(
    make: Callable[[str], list[dict[str, Any]]], directory: Path, processes: int
) -> Callable[[Sequence[str]], list[dict[str, Any]]]:
    """Extends a function of one case to many; stores each result, and shows progress."""

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


def _made(
    file: Path,
    make: Callable[[Sequence[str]], Any],
    cases: Sequence[str],
    models: dict[str, str] | None = None,
) -> Any:
    """The content of a file; if the file has other inputs, makes the content and writes it.

    Args:
      file: the file.
      make: makes the content for cases.
      cases: the cases.
      models: fingerprints of the models; by default of all bundled models of the cases.
    """
    from interpbench_jax.zoo import every_bundled_name
    from interpbench_jax.zoo.store import BUNDLED

    if models is None:
        names = [name for name in every_bundled_name() if name.rpartition("/")[2] in cases]
        models = {name: stored_model(BUNDLED / name, name).fingerprint for name in names}
    made_of = {
        "cases": list(cases),
        "models": models,
        "environment": environment(),
        "code": source_fingerprint("benchmark/paper"),
    }
    try:
        stored = read_json(file)
    except (FileNotFoundError, ValueError):
        stored = None
    if isinstance(stored, dict) and stored.get("made_of") == made_of:
        return stored["found"]
    found = from_json(to_json(make(cases)), source="what was found")  # as stored content is read
    make_directory(file.parent)
    write_json(file, {"made_of": made_of, "found": found})
    return found
