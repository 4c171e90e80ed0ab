"""Maps an algorithm's writers, readers and edges to those of the trained network."""

from interpbench_jax.alignment.align import align, place
from interpbench_jax.alignment.alignment import Alignment, Site
from interpbench_jax.alignment.observability import observed_circuit, unobservable_groups

__all__ = ["Alignment", "Site", "align", "observed_circuit", "place", "unobservable_groups"]
