"""The command line: `interpbench cases | train | evaluate | discover | demo`.

Modules are imported inside the commands, so that `--help` and `cases` answer at once.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from interpbench_jax.siit.config import SiitConfig

if TYPE_CHECKING:
    from interpbench_jax.benchmark import Finding
    from interpbench_jax.zoo import BenchmarkModel

_console = Console()
_OUT = Path("out")
Names = Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="CASE...")]


def cases(*, as_json: Annotated[bool, tyro.conf.arg(name="json")] = False) -> None:
    """List the cases.

    Args:
      as_json: print JSON instead of a table.
    """
    from interpbench_jax.cases import case_names, get_case

    rows = []
    for name in case_names():
        case = get_case(name)
        kind = "causal" if case.causal else "bidirectional"
        rows.append((name, case.title, len(case.vocab), case.n_ctx, kind))
    headers = ("case", "computes", "tokens", "positions", "attention")
    if as_json:
        print(json.dumps([dict(zip(headers, row, strict=True)) for row in rows], indent=1))
    else:
        _print_table(f"{len(rows)} cases", headers, rows)


def train(
    names: Names,
    *,
    seeds: tuple[int, ...] = (0,),
    out: Path = _OUT / "models",
    config: Annotated[SiitConfig, tyro.conf.arg(name="")] = SiitConfig(),  # noqa: B008
) -> None:
    """Train models on cases by SIIT and write each to its directory.

    Args:
      names: cases to train on.
      seeds: one model each, trained together; the best is kept.
      out: directory under which `CASE/` is written.
      config: settings of training.
    """
    from interpbench_jax.cases import get_case

    _need_some(names, "case")
    for case in [get_case(name) for name in names]:  # all names are checked before any work
        _train_one(case.name, config, seeds, out)


def _train_one(name: str, config: SiitConfig, seeds: tuple[int, ...], out: Path) -> None:
    from interpbench_jax.siit import TrainState
    from interpbench_jax.zoo import make_model, save_model

    started = time.perf_counter()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} batches"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=_console) as progress:
        total = config.n_rounds * config.round_batches
        task = progress.add_task(f"case {name}: compiling", total=total)

        def on_round(state: TrainState) -> None:
            rounds = int(state.round.max())
            row = state.history.scores
            best = int(state.best_score.argmax())
            last = int(state.round[best]) - 1
            text = (
                f"case {name}: accuracy {float(row.accuracy[best, last]):.4f}"
                f" IIA {float(row.iia[best, last].min()):.4f}"
                f" SIIA {float(row.siia[best, last].min(initial=1)):.4f}"
            )
            progress.update(task, description=text, completed=rounds * config.round_batches)

        model = make_model(name, config, seeds=seeds, on_round=on_round)
    save_model(model, out / name)
    card = model.card
    shares = ", ".join(f"{key} {value:.4f}" for key, value in card["metrics"].items())
    reached = "reached" if card["reached_threshold"] else "did NOT reach"
    _console.print(
        f"case {name}: {reached} the threshold {config.threshold} after {card['batches']} batches"
        f" ({card['batches_per_second']} batches/s with compilation),"
        f" {time.perf_counter() - started:.1f} s in all\n  {shares}\n  written to {out / name}",
        highlight=False,
    )


def evaluate(
    models: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="MODEL...")],
    *,
    n_pairs: int = 5_000,
    seed: int = 1,
    as_json: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> None:
    """Verify models: accuracy, IIA, SIIA and the effect of every node.

    Args:
      models: bundled models by name, or directories.
      n_pairs: (base, source) pairs to draw.
      seed: which pairs.
      as_json: print JSON instead of tables.
    """
    from interpbench_jax.benchmark import verify_model
    from interpbench_jax.zoo import load_model

    _need_some(models, "model")
    loaded = [load_model(name) for name in models]
    found = [verify_model(model, n_pairs=n_pairs, seed=seed) for model in loaded]
    effects = [one.rows(model) for one, model in zip(found, loaded, strict=True)]
    if as_json:
        rows = zip(loaded, found, effects, strict=True)
        keys = ("case", "metrics", "node_effects")
        values = [(model.case, one.metrics, by_node) for model, one, by_node in rows]
        print(json.dumps([dict(zip(keys, row, strict=True)) for row in values], indent=1))
        return
    _print_metrics([(model.case, one.metrics) for model, one in zip(loaded, found, strict=True)])
    headers = ("node", "in circuit", "accuracy", "KL", "KL-self")
    for model, by_node in zip(loaded, effects, strict=True):
        cells = [tuple("" if v is None else v for v in row.values()) for row in by_node]
        _print_table(f"Effect of patching each node, case {model.case}", headers, cells)


def discover(
    models: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="MODEL...")],
    *,
    methods: tuple[str, ...] = ("eap", "eap_ig_masks", "acdc"),
    n_inputs: int = 1_000,
    seed: int = 0,
    out: Path = _OUT / "discover",
) -> None:
    """Run circuit discovery methods on models, score and draw what they find.

    Args:
      models: bundled models by name, or directories.
      methods: what to run.
      n_inputs: clean and corrupted inputs to draw.
      seed: which inputs.
      out: directory for scores and drawings.
    """
    from interpbench_jax.discovery import get_method
    from interpbench_jax.zoo import load_model

    _need_some(models, "model")
    _need_some(methods, "method")
    for method in methods:
        get_method(method)  # all names are checked before any work
    _discover([load_model(name) for name in models], methods, n_inputs, seed, out)


def _discover(
    models: Sequence["BenchmarkModel"],
    methods: tuple[str, ...],
    n_inputs: int,
    seed: int,
    out: Path,
) -> None:
    import jax

    from interpbench_jax.benchmark import make_contrast, run_methods, write_findings

    findings = []
    for model in models:
        batch = make_contrast(model, jax.random.key(seed), n_inputs=n_inputs)
        found = run_methods(model, methods, batch)
        write_findings(model, found, out / model.case)
        findings += found
    _print_findings(findings)
    pictures = ", ".join(str(out / model.case / "circuits.png") for model in models)
    _console.print(f"true and found circuits side by side: {pictures}", highlight=False)


def demo(*, train: bool = False, out: Path = _OUT / "demo") -> None:
    """Take the bundled models, verify them, search their circuits, and show the result.

    Args:
      train: also train case 3 from scratch, and use that model.
      out: directory for models and drawings.
    """
    from interpbench_jax.benchmark import verify_model
    from interpbench_jax.zoo import bundled_names, load_model

    models = {name: load_model(name) for name in bundled_names()}
    if train:
        _train_one("3", SiitConfig(), (0,), out / "models")
        models["3"] = load_model(out / "models" / "3")
    _print_metrics([(name, verify_model(model).metrics) for name, model in models.items()])
    _discover(list(models.values()), ("eap", "eap_ig_masks", "acdc"), 1_000, 0, out)


def _need_some(names: Sequence[str], kind: str) -> None:
    if not names:
        raise ValueError(f"give at least one {kind}")


def _print_metrics(rows: Sequence[tuple[str, dict[str, float]]]) -> None:
    headers = ("case", "accuracy", "IIA", "SIIA", "worst IIA", "worst SIIA")
    table = [(name, *(f"{share:.4f}" for share in found.values())) for name, found in rows]
    _print_table("Do the models follow their circuits?", headers, table)


def _print_findings(rows: Sequence["Finding"]) -> None:
    headers = (
        "case",
        "method",
        "edges",
        "edges q/k/v",
        "nodes",
        "seconds",
        "compiling",
    )
    table = [
        (
            row.case,
            row.method,
            f"{row.edge_auroc:.3f}",
            f"{row.edge_auroc_qkv:.3f}",
            f"{row.node_auroc:.3f}",
            f"{row.seconds:.2f}",
            f"{row.compile_seconds:.1f}",
        )
        for row in rows
    ]
    _print_table("How well do methods find the true circuit? AUROC", headers, table)


def _print_table(title: str, headers: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    table = Table(*headers, title=title, title_justify="left")
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    _console.print(table)


_COMMANDS: dict[str, Callable[..., None]] = {
    "cases": cases,
    "train": train,
    "evaluate": evaluate,
    "discover": discover,
    "demo": demo,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of `interpbench`; exits with 2 and one line on bad input."""
    try:
        tyro.extras.subcommand_cli_from_dict(
            _COMMANDS, prog="interpbench", args=list(arguments) if arguments is not None else None
        )
    except ValueError as error:
        print(f"interpbench: {error}", file=sys.stderr)
        sys.exit(2)
