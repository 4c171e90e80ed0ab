"""`interpbench report`."""

from pathlib import Path
from typing import Annotated

import tyro

from interpbench_jax.cli.output import OUT, console, print_line

Source = Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="[RESULTS]")]


def report(
    results: Source = None,
    *,
    leaderboard: bool = False,
    pack: Path | None = None,
    out: Path | None = None,
) -> None:
    """Write a page (HTML, needs no network), plots (PNG, SVG) and tables (CSV, Markdown).

    Results that are not comparable, such as those of two ablations or of two versions of the code,
    are separate. If there are runs on several numbers of inputs, those with the most inputs count;
    the others show how many a method needs. Failed runs and invalid files are listed.

    With --leaderboard, the results that come with the package are shown too: those of every method
    on the models that RESULTS are on, or on all models that meet the bar if there are no RESULTS.
    They are on 200 inputs, with resample ablation and seed 0.

    Args:
      results: directory that `interpbench benchmark` wrote, or file that --pack wrote.
      leaderboard: add the results that come with the package.
      pack: also write all results of the directory into this one file, to be passed on; with
        --leaderboard, those that come with the package too, where the directory has no newer ones.
      out: where to write; by default RESULTS/report; without RESULTS, out/leaderboard.
    """
    from interpbench_jax.benchmark.packed_results import LEADERBOARD, PackedResults, pack_results
    from interpbench_jax.benchmark.report.results import Results
    from interpbench_jax.benchmark.report.write import write_results
    from interpbench_jax.benchmark.results_store import Store

    if results is None and not leaderboard:
        raise ValueError("give RESULTS, a directory or file, or --leaderboard")
    if pack and (results is None or results.is_file()):
        raise ValueError(f"--pack {pack} needs a directory of results as RESULTS")
    if results is None:
        found, place = Results(PackedResults(LEADERBOARD)), OUT / "leaderboard"
    else:
        is_packed = results.is_file()
        source = PackedResults(results) if is_packed else Store(results)
        found = Results(source, PackedResults(LEADERBOARD) if leaderboard else None)
        place = (results.with_suffix("") if is_packed else results) / "report"
        if pack:
            renewed = PackedResults(LEADERBOARD) if leaderboard else None
            pack_results(Store(results), pack, renewed)
    page = write_results(found, out or place)
    for fault in found.unreadable:
        print_line(f"left out: {fault}")
    console.print(f"report: {page}", highlight=False, soft_wrap=True)
