"""`interpbench suite`."""

from pathlib import Path
from typing import Annotated

import tyro

from interpbench_jax.cli.output import console, print_table
from interpbench_jax.files import make_directory, replacing, to_json


def suite(
    *,
    models: Path | None = None,
    as_json: Annotated[bool, tyro.conf.arg(name="json")] = False,
    out: Path | None = None,
) -> None:
    """List the models that come with the package, one per task, and their scores.

    The scores are from the models' cards; `interpbench evaluate --recipe suite` recomputes them
    from the weights.

    Args:
      models: a directory of models, instead of those of the package.
      as_json: print JSON.
      out: directory for a page `suite.md` with the same table, and a plot.

    Raises:
      ValueError: there is no model in the directory, or a model cannot be loaded.
    """
    from interpbench_jax.benchmark.shares import rounded_down
    from interpbench_jax.benchmark.suite import (
        METRICS,
        draw_suite,
        suite_page,
        suite_row,
        summary,
    )
    from interpbench_jax.zoo import bundled_names, load_model, read_recipes

    if out is not None:
        make_directory(out)
    places: list[str | Path] = list(bundled_names())
    if models is not None:
        places = sorted((f.parent for f in models.glob("*/config.json")), key=_by_number)
        if not places:
            raise ValueError(f"no model in {models}")
    rows = [suite_row(load_model(place, on_device=False)) for place in places]
    tried = {recipe.task: recipe.tried for recipe in read_recipes("suite")}
    if as_json:
        print(to_json([row._asdict() for row in rows], indent=1))
    else:
        headers = ("task", "circuit", "size", "batches", *METRICS.values(), "bar")
        cells = [
            (
                *(row.task, row.kind, row.size, "-" if row.batches is None else row.batches),
                *(rounded_down(row.metrics.get(name)) for name in METRICS),
                "no" if row.misses else "yes",
            )
            for row in rows
        ]
        lines = [header.replace(" ", "\n") for header in headers]
        less = ("circuit", "size", "batches", "sets\nof\nedges")
        print_table(f"{len(rows)} models", lines, cells, if_wide=less)
        console.print(summary(rows, tried), highlight=False)
    if out is not None:
        draw_suite(rows, out / "suite.png")
        with replacing(out / "suite.md") as partial:
            partial.write_text(suite_page(rows, tried), "utf-8")
        if not as_json:
            console.print(f"written to {out / 'suite.md'}", highlight=False)


def _by_number(place: str | Path) -> tuple[int, str]:
    name = Path(place).name
    return len(name), name
