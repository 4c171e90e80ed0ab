"""Lays a task's algorithm over the network that is trained on it."""

from collections.abc import Mapping

from interpbench_jax.alignment.alignment import Alignment, Site
from interpbench_jax.model import TransformerConfig
from interpbench_jax.model.network import Network
from interpbench_jax.tasks.task import Task


def align(task: Task) -> Alignment[TransformerConfig]:
    """Lays a task over the transformer that it says, in the places that it says."""
    return place(task, task.network, task.places)


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
