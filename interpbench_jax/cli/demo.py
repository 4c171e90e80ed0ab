"""`interpbench demo`."""

import os
from collections.abc import Iterator
from pathlib import Path

from interpbench_jax.benchmark.processes import in_processes
from interpbench_jax.cli.benchmark import benchmark
from interpbench_jax.cli.output import OUT, print_metrics
from interpbench_jax.cli.report import report
from interpbench_jax.cli.train import train_one
from interpbench_jax.siit.config import SiitConfig
from interpbench_jax.siit.members import members

_METHODS = (
    *("eap", "eap_ig_masks", "eap_ig_inputs"),
    *("edge_patching", "acdc", "information_flow_routes"),
)


def demo(*, train: bool = False, out: Path = OUT / "demo") -> None:
    """Verify the bundled models, run six methods on them, and write a report.

    Args:
      train: also train case 3 from scratch, and use that model only.
      out: directory for models, results and report; what is there is not done again.
    """
    import jax

    from interpbench_jax.zoo import bundled_names

    places: tuple[str | Path, ...] = bundled_names()
    if train:
        train_one("3", members(SiitConfig()), out / "models")
        places = (out / "models" / "3",)
    # Processes of their own would each claim all of an accelerator's memory.
    processes = min(4, os.cpu_count() or 1) if jax.default_backend() == "cpu" else 1
    verified = dict(in_processes(_verified, places, processes))
    print_metrics([verified[place] for place in places])
    results = out / "results"
    benchmark(
        models=(out / "models",) if train else (),
        methods=_METHODS,
        processes=processes,
        out=results,
    )
    report(results, out=out / "report")


def _verified(place: str | Path) -> Iterator[tuple[str | Path, tuple[str, dict[str, float]]]]:
    """A model, its case and how well it follows its circuit."""
    from interpbench_jax.benchmark import verify_model
    from interpbench_jax.zoo import load_model

    model = load_model(place)
    yield place, (model.case, verify_model(model).metrics)
