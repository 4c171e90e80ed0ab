"""What is patched as one: edges with q, k and v apart, or with those of a head merged."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

from interpbench_jax.alignment.alignment import Alignment, group_masks
from interpbench_jax.model import Circuit, Graph
from interpbench_jax.model.circuit import Edge
from interpbench_jax.model.graph import edge_name


class EdgeLevel(NamedTuple):
    """The units that sets of patched edges are made of.

    Attributes:
      names: of the units, for people.
      edges: the network's edges that each patches.
      groups: the groups of the circuit's edges, see `Alignment.groups`, that each patches as a
        whole; none for units outside the circuit.
    """

    names: tuple[str, ...]
    edges: Bool[np.ndarray, "unit writer reader"]
    groups: Bool[np.ndarray, "unit group"]

    @property
    def inside(self) -> Bool[np.ndarray, " unit"]:
        """Which units hold edges of the circuit."""
        return np.asarray(self.groups.any(1))

    def masks(self, sets: Bool[np.ndarray, "set unit"]) -> Bool[np.ndarray, "set writer reader"]:
        """The network's edges that sets of units patch."""
        n_units, n_writers, n_readers = self.edges.shape
        flat = self.edges.reshape(n_units, n_writers * n_readers).astype(np.float32)
        patched = np.asarray(sets.astype(np.float32) @ flat > 0)
        return patched.reshape(len(sets), n_writers, n_readers)

    def groups_of(self, sets: Bool[np.ndarray, "set unit"]) -> Bool[np.ndarray, "set group"]:
        """The groups of the circuit's edges that sets of units patch."""
        return np.asarray(sets.astype(np.float32) @ self.groups.astype(np.float32) > 0)


def qkv_level(alignment: Alignment) -> EdgeLevel:
    """Every group of the circuit's edges is a unit, then every edge outside the circuit."""
    return _apart(alignment.graph, group_masks(alignment)[1], alignment.outside)


def head_level(alignment: Alignment) -> EdgeLevel:
    """Every edge with the inputs of its head merged is a unit.

    A unit with an edge of the circuit patches whole groups: where a group is part of several merged
    edges, these are one unit.
    """
    return _merged(alignment.graph, group_masks(alignment)[1], alignment.outside)


def levels_outside(circuit: Circuit) -> tuple[EdgeLevel, EdgeLevel]:
    """At both levels the edges outside a circuit, and nothing of the circuit itself."""
    graph = circuit.graph
    none = np.zeros((0, *graph.valid.shape), bool)
    outside = graph.valid & ~circuit.mask
    return _apart(graph, none, outside), _merged(graph, none, outside)


def draw_sets(level: EdgeLevel, rng: np.random.Generator, n: int) -> Bool[np.ndarray, "set unit"]:
    """Draws sets of units inside and outside the circuit, with shares of their own.

    The share of the units inside, and of those outside, is drawn for each set, and so is whether
    each part has units one by one, or all that leave some writers.

    Args:
      level: the units.
      rng: draws the sets.
      n: how many.
    """
    leaves = np.asarray(level.edges.any(2).T, np.float32)
    sets = np.zeros((n, len(level.names)), bool)
    for part in (level.inside, ~level.inside):
        share = rng.random((n, 1))
        one_by_one = rng.random(sets.shape) < share
        writers = rng.random((n, leaves.shape[0])) < share
        of_writers = writers.astype(np.float32) @ leaves > 0
        sets |= np.where(rng.random((n, 1)) < 0.5, of_writers, one_by_one) & part
    return sets


def _apart(
    graph: Graph,
    groups: Bool[np.ndarray, "group writer reader"],
    outside: Bool[np.ndarray, "writer reader"],
) -> EdgeLevel:
    places = np.argwhere(outside)
    each = np.zeros((len(places), *outside.shape), bool)
    each[np.arange(len(places)), places[:, 0], places[:, 1]] = True
    edges = np.concatenate([groups, each])
    names = tuple(_name(graph, np.argwhere(mask), graph.readers) for mask in edges)
    return EdgeLevel(names, edges, np.eye(len(edges), len(groups), dtype=bool))


def _merged(
    graph: Graph,
    groups: Bool[np.ndarray, "group writer reader"],
    outside: Bool[np.ndarray, "writer reader"],
) -> EdgeLevel:
    parts: list[set[tuple[int, ...]]] = [{tuple(place)} for place in np.argwhere(graph.head_valid)]
    for group in groups:
        touched = set(map(tuple, np.argwhere(graph.to_head_level(group))))
        joined = [part for part in parts if part & touched]
        parts = [part for part in parts if part not in joined] + [set().union(*joined)]
    names, edges = [], []
    for part in parts:
        merged = np.zeros(graph.head_valid.shape, bool)
        merged[tuple(np.array(sorted(part)).T)] = True
        names.append(_name(graph, np.argwhere(merged), graph.head_readers))
        edges.append(merged[:, graph.reader_head_index] & graph.valid)
    stacked = np.stack(edges)
    within = (stacked[:, None] & groups[None]).any((2, 3))
    judged = within.any(1) | ~(stacked & ~outside).any((1, 2))
    order = np.argsort(~within.any(1), kind="stable")
    order = order[judged[order]]
    return EdgeLevel(tuple(names[i] for i in order), stacked[order], within[order])


def _name(graph: Graph, places: np.ndarray, readers: tuple[str, ...]) -> str:
    edges: list[Edge] = [(graph.writers[w], readers[r]) for w, r in places]
    return " + ".join(edge_name(*edge) for edge in edges)
