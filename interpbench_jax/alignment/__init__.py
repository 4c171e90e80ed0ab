"""From the algorithm's writers, readers and edges to the trained network's."""

from interpbench_jax.alignment.align import align, place
from interpbench_jax.alignment.alignment import Alignment, Site
from interpbench_jax.alignment.observability import observed_circuit, unobservable_groups

__all__ = ["Alignment", "Site", "align", "observed_circuit", "place", "unobservable_groups"]
