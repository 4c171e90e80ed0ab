"""Loading of models that are named on the command line."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from interpbench_jax.cli.output import need_some

if TYPE_CHECKING:
    from interpbench_jax.zoo import BenchmarkModel


def load_models(names: Sequence[str]) -> dict[str, "BenchmarkModel"]:
    """Loads models, by their names in tables and folders.

    This is the name of a bundled model (`3`, `iit/3`), or the name of a model's directory.

    Args:
      names: bundled models by name, or directories.

    Raises:
      ValueError: there are no names, or two models would have the same name; or as `load_model`.
    """
    from interpbench_jax.zoo import every_bundled_name, load_model

    need_some(names, "model")
    bundled = every_bundled_name()
    given: dict[str, str] = {}
    for name in names:
        called = name if name in bundled else Path(name).resolve().name
        if called in given:
            raise ValueError(
                f"{given[called]} and {name} would both be named {called!r}: give one at a time"
            )
        given[called] = name
    return {called: load_model(name) for called, name in given.items()}
