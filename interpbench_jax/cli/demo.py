"""`interpbench demo`."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from interpbench_jax.benchmark.processes import in_processes
from interpbench_jax.cli.benchmark import benchmark
from interpbench_jax.cli.output import OUT, print_metrics
from interpbench_jax.cli.report import report
from interpbench_jax.cli.train import train as train_cases
from interpbench_jax.files import make_directory

_METHODS = (
    *("eap", "eap_ig_masks", "eap_ig_inputs"),
    *("edge_patching", "acdc", "information_flow_routes"),
)
_METRICS = (
    *("accuracy", "iia_worst", "siia_worst"),
    *("inert", "edge_single_worst", "edge_agreement", "edge_agreement_worst"),
)
_N_INPUTS = 200  # a fifth of the usual number, to be done in minutes


def demo(*, train: bool = False, out: Path = OUT / "demo") -> int:
    """Verify the bundled models, run six methods on them, and write a report.

    Args:
      train: also train case 3 from scratch, and use that model only.
      out: directory for models, results and report; what is there is not done again.
    """
    import jax

    from interpbench_jax.zoo import bundled_names

    make_directory(out)
    places: tuple[str | Path, ...] = bundled_names()
    if train:
        train_cases(("3",), resume=True, out=out / "models")
        places = (out / "models" / "3",)
    # Processes of their own would each claim all of an accelerator's memory.
    processes = min(4, os.cpu_count() or 1) if jax.default_backend() == "cpu" else 1
    verified = dict(in_processes(_verified, places, processes))
    print_metrics({verified[place].case: verified[place].metrics for place in places})
    largest_first = sorted(verified.values(), key=lambda found: -found.n_weights)
    results = out / "results"
    status = benchmark(
        cases=tuple(found.case for found in largest_first),
        models=(out / "models",) if train else (),
        methods=_METHODS,
        n_inputs=(_N_INPUTS,),
        processes=processes,
        out=results,
    )
    report(results, out=out / "report")
    return status


class _Verified(NamedTuple):
    case: str
    n_weights: int
    metrics: dict[str, float]


def _verified(place: str | Path) -> Iterator[tuple[str | Path, _Verified]]:
    """How well a model follows its circuit."""
    import jax

    from interpbench_jax.benchmark.verify import verify_edges_quickly, verify_model
    from interpbench_jax.zoo import load_model

    model = load_model(place)
    n_weights = sum(weight.size for weight in jax.tree.leaves(model.params))
    metrics = verify_model(model) | verify_edges_quickly(model)
    shown = {name: metrics[name] for name in _METRICS}
    yield place, _Verified(model.case, n_weights, shown)
