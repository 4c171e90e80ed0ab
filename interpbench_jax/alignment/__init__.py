"""From the algorithm's writers, readers and edges to the trained network's."""

from interpbench_jax.alignment.align import align, place
from interpbench_jax.alignment.alignment import Alignment, Site

__all__ = ["Alignment", "Site", "align", "place"]
