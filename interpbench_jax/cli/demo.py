"""`interpbench demo`."""

from pathlib import Path

from interpbench_jax.cli.discover import search
from interpbench_jax.cli.output import OUT, print_metrics
from interpbench_jax.cli.train import train_one
from interpbench_jax.siit.config import SiitConfig
from interpbench_jax.siit.members import members


def demo(*, train: bool = False, out: Path = OUT / "demo") -> None:
    """Take the bundled models, verify them, search their circuits, and show the result.

    Args:
      train: also train case 3 from scratch, and use that model.
      out: directory for models and drawings.
    """
    from interpbench_jax.benchmark import verify_model
    from interpbench_jax.zoo import bundled_names, load_model

    models = {name: load_model(name) for name in bundled_names()}
    if train:
        train_one("3", members(SiitConfig()), out / "models")
        models["3"] = load_model(out / "models" / "3")
    print_metrics([(name, verify_model(model).metrics) for name, model in models.items()])
    search(list(models.values()), ("eap", "eap_ig_masks", "acdc"), 1_000, 0, out)
