"""Lays a task's algorithm over the network that is trained on it."""

from collections.abc import Mapping
from dataclasses import replace

from interpbench_jax.alignment.alignment import Alignment, Site
from interpbench_jax.model import TransformerConfig
from interpbench_jax.model.network import Network
from interpbench_jax.tasks.task import Task


def align(task: Task, d_model: int | None = None) -> Alignment[TransformerConfig]:
    """Lays a task over the transformer that it says, in the places that it says.

    Args:
      task: names the transformer and the places.
      d_model: width of the residual stream, where it shall not be the task's own. Heads divide it
        among them, and MLPs are four times as wide.

    Raises:
      ValueError: heads cannot divide the width.
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
    """Lays a task over any network.

    Args:
      task: its circuit is laid over the network.
      network: a transformer's shape, or another network.
      places: for each writer of the algorithm the nodes of the network that hold it.

    Raises:
      ValueError: as `Alignment`.
    """
    sites = tuple((writer, Site(tuple(nodes))) for writer, nodes in places.items())
    return Alignment(task.circuit, network, sites)
