"""Reading and writing of scores and circuits in other tools' formats; one file per format."""

from interpbench_jax.zoo.formats.discovered import Discovered, same_discovery
from interpbench_jax.zoo.formats.eap_ig import (
    from_eap_ig,
    from_eap_ig_tensors,
    read_eap_ig,
    to_eap_ig,
)
from interpbench_jax.zoo.formats.edge_list import (
    from_edge_list,
    read_edge_lines,
    to_edge_list,
    write_edge_lines,
)
from interpbench_jax.zoo.formats.edge_names import Naming, named_circuit, read_circuit
from interpbench_jax.zoo.formats.edge_table import (
    from_named_scores,
    read_table,
    to_named_scores,
    write_table,
)
from interpbench_jax.zoo.formats.read import SUFFIXES, read_discovered
from interpbench_jax.zoo.formats.score_arrays import read_score_arrays, write_score_arrays

__all__ = [
    "SUFFIXES",
    "Discovered",
    "Naming",
    "from_eap_ig",
    "from_eap_ig_tensors",
    "from_edge_list",
    "from_named_scores",
    "named_circuit",
    "read_circuit",
    "read_discovered",
    "read_eap_ig",
    "read_edge_lines",
    "read_score_arrays",
    "read_table",
    "same_discovery",
    "to_eap_ig",
    "to_edge_list",
    "to_named_scores",
    "write_edge_lines",
    "write_score_arrays",
    "write_table",
]
