"""Aligns a task's algorithm with the network that is trained on it."""

from collections.abc import Mapping
from dataclasses import replace

from interpbench_jax.alignment.alignment import Alignment, Site
from interpbench_jax.model import TransformerConfig
from interpbench_jax.model.network import Network
from interpbench_jax.tasks.task import Task


def align(task: Task, d_model: int | None = None) -> Alignment[TransformerConfig]:
    """Aligns a task with its own transformer, in its own places.

    Args:
      task: gives the transformer and the places.
      d_model: width of the residual stream, if not the task's own. It is divided among the heads,
        and MLPs are four times as wide.

    Raises:
      ValueError: the width is not a multiple of the number of heads.
    """
    network = task.network
    if d_model is not None:
        if d_model % network.n_heads:
            raise ValueError(
                f"d_model={d_model} cannot be divided among the {network.n_heads} heads of task "
                f"{task.name}"
            )
        d_head = d_model // network.n_heads
        network = replace(network, d_model=d_model, d_head=d_head, d_mlp=4 * d_model)
    return place(task, network, task.places)


def place(
    task: Task, network: TransformerConfig | Network, places: Mapping[str, tuple[str, ...]]
) -> Alignment:
    """Aligns a task with any network.

    Args:
      task: the task whose circuit is aligned.
      network: a transformer's shape, or another network.
      places: for each writer of the algorithm, the nodes of the network that hold it.

    Raises:
      ValueError: as `Alignment`.
    """
    sites = tuple((writer, Site(tuple(nodes))) for writer, nodes in places.items())
    return Alignment(task.circuit, network, sites)
