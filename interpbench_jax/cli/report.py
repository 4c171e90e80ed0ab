"""`interpbench report`."""

from pathlib import Path
from typing import Annotated

import tyro

from interpbench_jax.cli.output import console

Directory = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RESULTS")]


def report(results: Directory, *, out: Path | None = None) -> None:
    """Write a page (HTML, needs no network), plots (PNG, SVG) and tables (CSV, Markdown).

    Results that are not comparable, such as those of two ablations or of two versions of the code,
    are separate. If there are runs on several numbers of inputs, those with the most inputs count;
    the others show how many a method needs. Failed runs and invalid files are listed.

    Args:
      results: directory that `interpbench benchmark` wrote.
      out: where to write; by default RESULTS/report.
    """
    from interpbench_jax.benchmark.report.results import Results
    from interpbench_jax.benchmark.report.write import write_results
    from interpbench_jax.benchmark.results_store import Store

    found = Results(Store(results))
    page = write_results(found, out or results / "report")
    for fault in found.unreadable:
        console.print(f"left out: {fault}", highlight=False, markup=False, soft_wrap=True)
    console.print(f"report: {page}", highlight=False, soft_wrap=True)
