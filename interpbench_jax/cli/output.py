"""Output of all commands: printing, and directories."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from interpbench_jax.files import make_directory

if TYPE_CHECKING:
    from rich.progress import Progress

    from interpbench_jax.benchmark import Finding

console = Console()
OUT = Path("out")
_WIDE = 100


def print_line(text: str) -> None:
    """Prints text as it is, without markup or colours; long lines are not wrapped."""
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def counting_bar(*, transient: bool = False) -> "Progress":
    """A bar with the number of things done, the time and a description.

    Args:
      transient: whether the bar disappears at the end.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    return Progress(*columns, console=console, transient=transient)


def need_some(names: Sequence[str], kind: str) -> None:
    """Checks that a list of names is not empty."""
    if not names:
        raise ValueError(f"give at least one {kind}")


def make_directories(out: Path, names: Iterable[str]) -> dict[str, Path]:
    """Makes a directory for each name, to detect errors before any work."""
    directories = {name: out / name for name in names}
    for directory in (out, *directories.values()):
        make_directory(directory)
    return directories


_METRICS = {
    "accuracy": "accuracy",
    "iia": "IIA",
    "siia": "SIIA",
    "iia_worst": "worst\nIIA",
    "siia_worst": "worst\nSIIA",
    "inert": "all edges\noutside",
    "edge_single_worst": "worst\nedge",
    "edge_agreement": "sets of\nedges",
    "edge_agreement_worst": "worst\nset",
}


def print_metrics(found: Mapping[str, Mapping[str, float]]) -> None:
    """Prints a table of models and their metrics; all have the same metrics."""
    first = next(iter(found.values()))
    table = [(name, *(f"{shares[key]:.4f}" for key in first)) for name, shares in found.items()]
    headers = ("model", *(_METRICS[key] for key in first))
    print_table("Do the models follow their circuits?", headers, table)


def print_findings(found: Mapping[str, Sequence["Finding"]]) -> None:
    """Prints tables of the results of methods on each model, and the edges."""
    rows = [(model, finding) for model, findings in found.items() for finding in findings]
    headers = (
        "model",
        "method",
        "selection",
        "edges",
        "edges q/k/v",
        "nodes",
        "seconds",
        "compiling",
    )
    table = [
        (
            model,
            row.method,
            row.selection,
            f"{row.edge_auroc:.3f}",
            f"{row.edge_auroc_qkv:.3f}",
            f"{row.node_auroc:.3f}",
            f"{row.seconds:.2f}",
            f"{row.compile_seconds:.1f}",
        )
        for model, row in rows
    ]
    print_table("How well do methods find the true circuit? AUROC", headers, table)
    counted = ("model", "method", "true", "missed", "false", "precision", "recall")
    counts = [
        (
            model,
            row.method,
            f"{row.n_true:.3g}",
            f"{row.n_missed:.3g}",
            f"{row.n_false:.3g}",
            f"{row.precision:.2f}",
            f"{row.recall:.2f}",
        )
        for model, row in rows
    ]
    title = "Found circuits: as many edges as the true circuit, without dead ends"
    print_table(title, counted, counts)
    for model, row in rows:
        kinds = {"true": row.true_edges, "false": row.false_edges, "missed": row.missed_edges}
        kinds |= {"unobservable": row.unobservable_edges, "tied": row.tied_edges}
        edges = "; ".join(f"{kind} {', '.join(names)}" for kind, names in kinds.items() if names)
        console.print(f"{model}, {row.method}: {edges}", highlight=False, markup=False)


def print_table(
    title: str,
    headers: Sequence[str],
    rows: Sequence[Sequence[Any]],
    *,
    if_wide: Collection[str] = (),
) -> None:
    """Prints a table; numbers are never truncated, even on a narrow terminal.

    Args:
      title: title above the table.
      headers: column headers; the text of a column `computes` may be wrapped.
      rows: one cell per column.
      if_wide: headers of columns that are omitted if the terminal is narrower than 100 characters.
    """
    if console.width < _WIDE and if_wide:
        kept = [place for place, header in enumerate(headers) if header not in if_wide]
        headers = [headers[place] for place in kept]
        rows = [[row[place] for place in kept] for row in rows]
    columns = [Column(header, no_wrap=header != "computes") for header in headers]
    table = Table(*columns, title=title, title_justify="left")
    if "computes" in headers:
        table.box, table.pad_edge = SIMPLE_HEAD, False
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    if "computes" not in headers:
        table.width = console.measure(table, options=console.options.update_width(1_000)).maximum
    console.print(table, crop=False)
