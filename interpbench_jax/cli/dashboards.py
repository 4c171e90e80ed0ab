"""Numbers of a training run to TensorBoard or Weights & Biases, where these are installed."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from interpbench_jax.zoo.progress import OnProgress, Progress

Dashboard = Literal["tensorboard", "wandb"]
_PACKAGES = {"tensorboard": "tensorboardX", "wandb": "wandb"}


def dashboard(kind: Dashboard, case: str, directory: Path) -> OnProgress:
    """A function to be called after every round.

    Args:
      kind: where numbers go.
      case: name of the case, which names the run.
      directory: for the files of TensorBoard.

    Raises:
      ValueError: the package it needs is not installed.
    """
    package = find_package(kind)
    if kind == "wandb":
        run = package.init(project="interpbench_jax", name=f"case-{case}")
        return lambda progress: run.log(dict(_scalars(progress)), step=progress.batches)
    writer = package.SummaryWriter(str(directory))

    def write(progress: Progress) -> None:
        for scalar, value in _scalars(progress):
            writer.add_scalar(scalar, value, progress.batches)
        writer.flush()

    return write


def find_package(kind: Dashboard) -> Any:
    """What a dashboard is written with.

    Raises:
      ValueError: it is not installed.
    """
    name = _PACKAGES[kind]
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ValueError(f"logging to {kind} needs `pip install {name}`") from error


def _scalars(progress: Progress) -> Iterator[tuple[str, float]]:
    """Names and values of what is finite."""
    for member, losses in enumerate(progress.losses):
        for name, loss in zip(("behaviour", "iit", "strict"), losses, strict=True):
            yield f"member{member}/loss/{name}", loss
        for name in ("accuracy", "iia", "siia"):
            yield f"member{member}/{name}", getattr(progress, name)[member]
