"""`interpbench report`."""

from pathlib import Path
from typing import Annotated

import tyro

from interpbench_jax.cli.output import console

Results = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RESULTS")]


def report(results: Results, *, out: Path | None = None) -> None:
    """Write a page (HTML, needs no network), plots (PNG, SVG) and tables (CSV, Markdown).

    Args:
      results: directory that `interpbench benchmark` wrote.
      out: where to write; RESULTS/report if not given.
    """
    from interpbench_jax.benchmark import Store, write_report

    page = write_report(Store(results), out or results / "report")
    console.print(f"report: {page}", highlight=False, soft_wrap=True)
