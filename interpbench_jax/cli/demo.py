"""`interpbench demo`."""

from pathlib import Path

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
    from interpbench_jax.benchmark import verify_model
    from interpbench_jax.zoo import bundled_names, load_model

    if train:
        train_one("3", members(SiitConfig()), out / "models")
        models = {"3": load_model(out / "models" / "3")}
    else:
        models = {name: load_model(name) for name in bundled_names()}
    print_metrics([(name, verify_model(model).metrics) for name, model in models.items()])
    results = out / "results"
    benchmark(models=(out / "models",) if train else (), methods=_METHODS, out=results)
    report(results, out=out / "report")
