"""Compiled cases on disk, found again by the content of their program.

The key is a digest of the expression graph with every function written out as a table, so that a
changed program is a new entry, wherever the change was made. Entries are plain data: weights as
safetensors with the rest as JSON in their header. `INTERPBENCH_CACHE` names another place.
"""

import hashlib
import importlib.metadata
import itertools
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import platformdirs
import safetensors
import safetensors.numpy
from tracr.compiler import basis_inference, nodes, rasp_to_graph
from tracr.rasp import rasp

from interpbench_jax.cases import Case

# Raise when what is made of a program, or how it is stored, changes.
_FORMAT = 3
_HEADER = "interpbench"


def content_key(case: Case, program: rasp.SOp) -> str:
    """A digest of all that decides what a case compiles to.

    Args:
      case: the case.
      program: its expression, numbered.

    Raises:
      NotImplementedError: Tracr cannot tell which values an expression takes.
    """
    extracted = rasp_to_graph.extract_rasp_graph(program)
    basis_inference.infer_bases(extracted.graph, extracted.sink, set(case.vocab), case.n_ctx - 1)
    versions = (_FORMAT, importlib.metadata.version("tracr-pypi"))
    digest = hashlib.sha256(repr((versions, case.vocab, case.n_ctx, case.causal)).encode())
    for line in _lines(extracted.graph):
        digest.update(repr(line).encode())
    return digest.hexdigest()


def _lines(graph: nx.DiGraph) -> Iterator[tuple[Any, ...]]:
    """What defines each expression, functions as their results on all values."""

    def values(expr: rasp.SOp) -> list[Any]:
        return sorted(graph.nodes[expr.label][nodes.VALUE_SET], key=repr)

    for label, node in graph.nodes.items():
        expr = node[nodes.EXPR]
        line = (label, type(expr).__name__, [child.label for child in expr.children])
        if isinstance(expr, rasp.Select):
            pairs = itertools.product(values(expr.keys), values(expr.queries))
            yield *line, [bool(expr.predicate(key, query)) for key, query in pairs]
        elif isinstance(expr, rasp.Map | rasp.SequenceMap):
            arguments = itertools.product(*map(values, expr.children))
            results = [_result(expr.f, combination) for combination in arguments]
            yield *line, rasp.get_encoding(expr), results
        else:
            encoding = rasp.get_encoding(expr) if isinstance(expr, rasp.SOp) else None
            yield *line, encoding, getattr(expr, "default", None)


def _result(function: Any, arguments: tuple[Any, ...]) -> Any:
    """A value, or the kind of arithmetic error, which Tracr passes over too."""
    try:
        return function(*arguments)
    except ArithmeticError as error:
        return type(error).__name__


def read(key: str) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
    """Weights by name and description of an entry; None if there is none that can be read."""
    try:
        with safetensors.safe_open(_file(key), "np") as stored:
            header = stored.metadata()
            arrays = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
        return arrays, json.loads(header[_HEADER])
    except (OSError, safetensors.SafetensorError, KeyError, TypeError, ValueError):
        return None


def write(key: str, arrays: dict[str, np.ndarray], description: dict[str, Any]) -> None:
    """Stores an entry; a directory that cannot be written to is left alone."""
    file = _file(key)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, partial = tempfile.mkstemp(dir=file.parent)
    except OSError:
        return
    os.close(handle)
    # safetensors writes the memory as it lies, whatever the strides.
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    safetensors.numpy.save_file(contiguous, partial, {_HEADER: json.dumps(description)})
    os.replace(partial, file)


def _file(key: str) -> Path:
    place = os.environ.get("INTERPBENCH_CACHE") or platformdirs.user_cache_dir("interpbench_jax")
    return Path(place) / "compiled" / f"{key}.safetensors"
