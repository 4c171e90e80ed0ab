"""A fingerprint of what a case compiles to.

A program is identified by its expressions, with every function as a table of its results. Any
change to a program therefore changes its fingerprint.
"""

import functools
import importlib.metadata
import itertools
from collections.abc import Iterator
from typing import Any

import jax
import networkx as nx
import numpy as np
from tracr.compiler import nodes
from tracr.rasp import rasp

from interpbench_jax.cases import Case, sample_sequences
from interpbench_jax.compiler.program_graph import program_graph
from interpbench_jax.files import fingerprint

# Increase when labels, variables or circuits of unchanged programs change.
_VERSION = 4
# Number of drawn inputs that identify a sampler.
_DRAWN = 64


@functools.cache
def case_fingerprint(case: Case) -> str:
    """A digest of what determines a case's circuit and data: program, tokens, length, sampler.

    Everything derived from a case (compile cache, training runs, results) is valid until it
    changes.

    Raises:
      ValueError: the program cannot be compiled.
    """
    return fingerprint(
        version=_VERSION,
        tracr=importlib.metadata.version("tracr-pypi"),
        vocab=case.vocab,
        n_ctx=case.n_ctx,
        causal=case.causal,
        expressions=[repr(line) for line in _lines(program_graph(case).graph)],
        sampler=_sampler(case),
    )


def _lines(graph: nx.DiGraph) -> Iterator[tuple[Any, ...]]:
    """The definition of each expression; functions as their results on all values."""

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
            factors = getattr(expr, "fst_fac", None), getattr(expr, "snd_fac", None)
            yield *line, rasp.get_encoding(expr), factors, [expr.f(*some) for some in arguments]
        else:
            encoding = rasp.get_encoding(expr) if isinstance(expr, rasp.SOp) else None
            yield *line, encoding, getattr(expr, "default", None)


def _sampler(case: Case) -> Any:
    """What identifies a sampler: its probabilities, and some drawn inputs."""
    if case.sampler is None:
        return None
    drawn = sample_sequences(case, _DRAWN, jax.random.key(0))
    return [[share for share, _ in case.sampler.parts], drawn.astype(np.int32).tobytes()]
