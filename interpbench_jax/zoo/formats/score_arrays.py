"""Our own `scores.npz`: one array of scores per method, and the names of writers and readers."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from interpbench_jax.files import replacing
from interpbench_jax.model import Graph
from interpbench_jax.zoo.formats.discovered import Discovered, Scores
from interpbench_jax.zoo.formats.edge_names import quoted
from interpbench_jax.zoo.npz import read_npz

_NAMES = ("writers", "readers")
_LARGEST = 2**30  # bytes of all arrays


def write_score_arrays(file: Path, scores: Mapping[str, Scores], graph: Graph) -> None:
    """Writes scores of several methods for one model; undone by `read_score_arrays`.

    Args:
      file: the file to write.
      scores: scores of edges or writers, by the name of the method.
      graph: the model's graph.

    Raises:
      ValueError: a method has the name of another array.
      OSError: the file cannot be written.
    """
    names = {name: np.array(getattr(graph, name)) for name in _NAMES}
    if taken := scores.keys() & {*names, "file"}:  # the last is an argument of `savez_compressed`
        raise ValueError(f"a method cannot be named {min(taken)!r} here; rename the function")
    arrays: dict[str, Any] = {**scores, **names}
    with replacing(file) as partial, partial.open("wb") as stream:
        np.savez_compressed(stream, **arrays)


def read_score_arrays(content: bytes, graph: Graph) -> dict[str, Discovered]:
    """Reads `scores.npz`; nothing in it can run code, and array sizes are checked first.

    Args:
      content: content of the file.
      graph: the model's graph.

    Returns:
      The results of each method, by its name.

    Raises:
      ValueError: it is not such a file, it belongs to another graph, or scores have another shape,
        another type or NaN.
    """
    arrays = read_npz(io.BytesIO(content), limit=_LARGEST, kinds="fiubU")
    for kind in _NAMES:
        if kind not in arrays:
            raise ValueError(f"no array {kind!r}; expected scores as `interpbench discover` writes")
        if tuple(arrays.pop(kind).tolist()) != getattr(graph, kind):
            raise ValueError(f"{kind} belong to another model; this one is {graph}")
    if not arrays:
        raise ValueError("no scores of any method")
    found = {}
    for name, scores in arrays.items():
        if scores.dtype.kind not in "iuf":
            raise ValueError(f"scores of {quoted(name)} have type {scores.dtype}, expected numbers")
        try:
            found[name] = Discovered(graph=graph, scores=scores.astype(np.float64))
        except ValueError as error:
            raise ValueError(f"{quoted(name)}: {error}") from error
    return found
