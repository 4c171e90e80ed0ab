"""`interpbench import`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro

from interpbench_jax.cli.output import OUT, need_some, print_line
from interpbench_jax.files import inside, set_aside

_HUB = "hub:"


def import_(
    models: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="MODEL...")],
    *,
    case: str | None = None,
    truth: Literal["ours", "published"] = "ours",
    revision: str | None = None,
    out: Path = OUT / "imported",
) -> None:
    """Convert models that InterpBench published to our format.

    A model is a folder with `ll_model.pth`, `ll_model_cfg.pkl` and `edges.pkl`, or its name on the
    Hugging Face Hub, such as `hub:3`. Nothing in these files is run. The result can be evaluated,
    audited and benchmarked like any other model. An older model in its place is moved aside.

    Args:
      models: folders, or names such as `hub:3`.
      case: name of the task, if it is not the folder's name; for a single model.
      truth: the circuit that methods are scored against: `ours`, the task's; or `published`, to
        reproduce published numbers.
      revision: revision of the Hub's repository, if not the default commit.
      out: where to write a directory for each model.
    """
    need_some(models, "model")
    if case is not None and len(models) > 1:
        raise ValueError(f"--case {case} is for one model, got {len(models)}")
    from interpbench_jax.zoo import save_model
    from interpbench_jax.zoo.hub import REPOSITORY, REVISION, fetch_published
    from interpbench_jax.zoo.published import read_published
    from interpbench_jax.zoo.store import check_place

    if revision is not None and not any(name.startswith(_HUB) for name in models):
        raise ValueError(f"--revision {revision} is for models of the Hub, such as hub:3")
    revision = revision or REVISION
    for name, place in _places(models, out).items():
        check_place(place)
        source = None
        folder = Path(name)
        if name.startswith(_HUB):
            folder = fetch_published(name.removeprefix(_HUB), revision=revision)
            source = {"from": name, "repository": REPOSITORY, "revision": revision}
        found = read_published(folder, case=case, truth=truth, source=source)
        aside = set_aside(place) if place.exists() else None
        save_model(found.model, place)
        differences = [
            f"{whose} {', '.join(edges)}"
            for whose, edges in (
                ("only published:", found.only_published),
                ("only ours:", found.only_ours),
            )
            if edges
        ]
        print_line(
            f"{name}: written to {place}; published edges and ours: "
            f"{'; '.join(differences) or 'the same'}"
        )
        if aside:
            print_line(f"  the older model is kept in {aside}")


def _places(models: Sequence[str], out: Path) -> dict[str, Path]:
    """The output directory of each model, by its name on the command line.

    Raises:
      ValueError: two models would have the same directory, or a name is not a valid directory name.
    """
    places: dict[str, Path] = {}
    for name in models:
        is_hub = name.startswith(_HUB)
        place = inside(out, name.removeprefix(_HUB) if is_hub else Path(name).resolve().name)
        for other, taken in places.items():
            if taken == place:
                raise ValueError(f"{other} and {name} would both be written to {place}")
        places[name] = place
    return places
