"""Reading of any tool's file with scores or circuits of a model."""

from pathlib import Path
from typing import Any

from interpbench_jax.files import from_json, read_bytes, read_text
from interpbench_jax.files.bounded import MEBIBYTE
from interpbench_jax.model import Circuit
from interpbench_jax.zoo.formats.discovered import Discovered
from interpbench_jax.zoo.formats.eap_ig import from_eap_ig, from_eap_ig_tensors, is_eap_ig
from interpbench_jax.zoo.formats.edge_list import from_edge_list, read_edge_lines
from interpbench_jax.zoo.formats.edge_table import from_named_scores, read_table
from interpbench_jax.zoo.formats.score_arrays import read_score_arrays
from interpbench_jax.zoo.model import BenchmarkModel
from interpbench_jax.zoo.torch_files import read_torch

SUFFIXES = (".json", ".pt", ".npz", ".csv", ".txt")
"""Suffixes of the files that `read_discovered` reads."""

_MOST_BYTES = 256 * MEBIBYTE


def read_discovered(file: Path, model: BenchmarkModel) -> dict[str, Discovered]:
    """Reads scores or circuits; the suffix and the content determine the format.

    Args:
      file: a graph of EAP-IG (`.json`, `.pt`); scores by edge (`.csv`, `.json`); a circuit: ours, a
        list of edges (`.json`), or one edge per line (`.txt`); or `scores.npz`. Edges have the
        names of EAP-IG, auto-circuit or TransformerLens.
      model: the model that the file belongs to.

    Returns:
      The results by the name of the method; the name is "" if the file has none.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it has another suffix, is too large or damaged, or belongs to another model; the
        message names file and value.
    """
    if file.suffix not in SUFFIXES:
        raise ValueError(f"{file}: unknown suffix {file.suffix!r}; known: {', '.join(SUFFIXES)}")
    try:
        return _read(file, model)
    except ValueError as error:
        message = str(error)
        raise ValueError(message if str(file) in message else f"{file}: {message}") from error


def _read(file: Path, model: BenchmarkModel) -> dict[str, Discovered]:
    graph = model.graph
    if file.suffix == ".npz":
        return read_score_arrays(read_bytes(file, limit=_MOST_BYTES), graph)
    if file.suffix == ".pt":
        return {"": from_eap_ig_tensors(read_torch(file), graph, d_model=model.config.d_model)}
    text = read_text(file, limit=_MOST_BYTES)
    if file.suffix == ".csv":
        return {"": read_table(text, graph)}
    if file.suffix == ".txt":
        return {"": read_edge_lines(text, graph)}
    return {"": _from_data(text, from_json(text, source=file, constants=True), model)}


def _from_data(text: str, data: Any, model: BenchmarkModel) -> Discovered:
    graph = model.graph
    if is_eap_ig(data):
        return from_eap_ig(data, graph, d_model=model.config.d_model)
    if isinstance(data, list):
        return from_edge_list(data, graph)
    if isinstance(data, dict) and isinstance(data.get("edges"), list):
        return Discovered(graph=graph, circuit=Circuit.from_json(text))
    if isinstance(data, dict) and data and all("->" in name for name in data):
        return from_named_scores(data, graph)
    raise ValueError(
        "no scores and no circuit: expected a graph of EAP-IG (cfg, nodes, edges), scores by edge "
        "(writer->reader: score), a list of edges, or a circuit as in circuit.json"
    )
