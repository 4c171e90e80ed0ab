"""`interpbench verify`."""

from typing import Annotated

import tyro

from interpbench_jax.cli.output import need_some, print_line
from interpbench_jax.files import to_json


def verify(
    models: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="MODEL...")],
    *,
    as_json: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> None:
    """Check the structure, shapes and checksums of models in directories.

    Models are not run; use `interpbench evaluate` to test whether they follow their circuits.

    Args:
      models: directories, or bundled models by name.
      as_json: print JSON instead of lines.
    """
    need_some(models, "model")
    from interpbench_jax.zoo.store import inspect_model

    found = {name: inspect_model(name) for name in map(str, models)}
    if as_json:
        rows = [{"model": name, **one._asdict()} for name, one in found.items()]
        print(to_json(rows, indent=1))
        return
    for name, one in found.items():
        checked = "checksums match" if one.has_checksums else "no checksums"
        print_line(
            f"{name}: a model of {one.case} in format {one.format}, {one.n_weights} weights, "
            f"{one.n_edges} edges in its circuit; {checked}"
        )
