"""Logging of a training run to TensorBoard or Weights & Biases, if installed."""

import contextlib
import importlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from interpbench_jax.zoo.progress import OnProgress, Progress

Dashboard = Literal["tensorboard", "wandb"]
_PACKAGES = {"tensorboard": "tensorboardX", "wandb": "wandb"}


@contextlib.contextmanager
def dashboard(
    kind: Dashboard, case: str, settings: dict[str, Any], directory: Path
) -> Iterator[OnProgress]:
    """Yields a function to call after every round; finishes the dashboard's run at the end.

    Args:
      kind: the dashboard.
      case: name of the case, also used as the name of the run.
      settings: settings of the run, for Weights & Biases.
      directory: directory for TensorBoard's files.

    Raises:
      ValueError: the package it needs is not installed.
    """
    package = find_package(kind)
    if kind == "wandb":
        # Cases that are trained together have one simultaneous run each.
        with package.init(
            project="interpbench_jax", name=f"case-{case}", config=settings, reinit="create_new"
        ) as run:
            yield lambda progress: run.log(dict(_scalars(progress)), step=progress.batches)
        return
    with package.SummaryWriter(str(directory)) as writer:

        def write(progress: Progress) -> None:
            for scalar, value in _scalars(progress):
                writer.add_scalar(scalar, value, progress.batches)
            writer.flush()

        yield write


def find_package(kind: Dashboard) -> Any:
    """Imports the package of a dashboard.

    Raises:
      ValueError: it is not installed.
    """
    name = _PACKAGES[kind]
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ValueError(f"logging to {kind} needs `pip install {name}`") from error


def _scalars(progress: Progress) -> Iterator[tuple[str, float]]:
    """Names and values of all finite numbers; a member that has ended has none."""
    for member, losses in enumerate(progress.losses):
        named = dict(zip(("loss/behaviour", "loss/iit", "loss/strict"), losses, strict=True))
        named |= {name: getattr(progress, name)[member] for name in ("accuracy", "iia", "siia")}
        for name, value in named.items():
            if math.isfinite(value):
                yield f"member{member}/{name}", value
