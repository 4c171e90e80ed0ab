"""`interpbench demo`."""

import os
from pathlib import Path
from typing import Annotated

import tyro

from interpbench_jax.cli.benchmark import benchmark
from interpbench_jax.cli.output import OUT, console, print_metrics
from interpbench_jax.cli.report import report
from interpbench_jax.files import make_directory

METHODS = (
    *("eap", "eap_ig_masks", "eap_ig_inputs"),
    *("edge_patching", "acdc", "information_flow_routes"),
)
_THREE_WAYS = ("3", "siit/3", "iit/3")
_METRICS = ("accuracy", "iia_worst", "siia_worst", "inert", "edge_agreement_worst")
# Small tasks on which methods differ.
_TASKS = ("3", "4", "11")
_N_INPUTS = 200  # a fifth of the usual number, to take only minutes


def demo(
    *,
    every: Annotated[bool, tyro.conf.arg(name="all")] = False,
    out: Path = OUT / "demo",
) -> int:
    """Demonstrate models with known circuits, and methods that search for them.

    First, compares models of one task trained in three ways (by edges, by nodes as in SIIT, and by
    plain IIT): how many answers are right when edges outside the circuit are patched? Then runs six
    methods on a few models, and writes a report.

    Args:
      every: run the methods on all models of the suite, which takes at least half an hour on two
        cores.
      out: directory for results and report; existing results are not computed again.
    """
    import jax

    from interpbench_jax.benchmark.evaluate import edge_scores_of_model, validate_model
    from interpbench_jax.zoo import load_model

    make_directory(out)
    verified = {}
    for name in _THREE_WAYS:
        model = load_model(name)
        metrics = validate_model(model) | edge_scores_of_model(model)
        verified[name] = {metric: metrics[metric] for metric in _METRICS}
    print_metrics(verified)
    console.print(
        f"{_THREE_WAYS[0]} is trained by edges, {_THREE_WAYS[1]} by nodes, {_THREE_WAYS[2]} by "
        "plain IIT. All three compute the task; only the first uses its circuit alone.",
        highlight=False,
    )
    # On an accelerator, each process would claim all of its memory.
    processes = min(4, os.cpu_count() or 1) if jax.default_backend() == "cpu" else 1
    results = out / ("all" if every else "results")
    status = benchmark(
        cases=() if every else _TASKS,
        methods=METHODS,
        n_inputs=(_N_INPUTS,),
        processes=processes,
        out=results,
    )
    report(results, out=out / "report")
    if not every:
        console.print(
            "Next: interpbench report --leaderboard shows all methods on all models that meet the "
            "bar (stored results); interpbench demo --all runs these six on all models.",
            highlight=False,
        )
    return status
