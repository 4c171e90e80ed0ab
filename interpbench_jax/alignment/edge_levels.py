"""Units of edges that are patched together: with q, k and v separate, or merged per head."""

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
      names: readable names of the units.
      edges: the network's edges that each unit patches.
      groups: the groups of the circuit's edges (`Alignment.groups`) that each unit patches as a
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
    """The units are the groups of the circuit's edges, then the single edges outside it."""
    return _apart(alignment.graph, group_masks(alignment)[1], alignment.outside)


def head_level(alignment: Alignment) -> EdgeLevel:
    """The units are edges with the q, k and v inputs of each head merged.

    A unit with an edge of the circuit patches whole groups: merged edges that share a group form
    one unit.
    """
    return _merged(alignment.graph, group_masks(alignment)[1], alignment.outside)


def levels_outside(circuit: Circuit) -> tuple[EdgeLevel, EdgeLevel]:
    """The units outside a circuit, at both levels; the circuit's own edges are excluded."""
    graph = circuit.graph
    none = np.zeros((0, *graph.valid.shape), bool)
    outside = graph.valid & ~circuit.mask
    return _apart(graph, none, outside), _merged(graph, none, outside)


def draw_sets(level: EdgeLevel, rng: np.random.Generator, n: int) -> Bool[np.ndarray, "set unit"]:
    """Draws sets of units, inside and outside the circuit with separate shares.

    For each set, four things are drawn: the share of units inside and outside, and for each part
    whether it consists of single units or of all units that leave some writers.

    Args:
      level: the units.
      rng: random generator.
      n: number of sets.
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


def draw_positions(
    rng: np.random.Generator, n: int, n_positions: int
) -> Bool[np.ndarray, "set pos"]:
    """Draws positions at which sets are patched: half of the time one, otherwise a random share.

    BOS, the first position, is never drawn: it is the same in all inputs.

    Args:
      rng: random generator.
      n: number of sets.
      n_positions: number of positions, with BOS; at least 2.
    """
    alone = np.eye(n_positions - 1, dtype=bool)[rng.integers(0, n_positions - 1, n)]
    several = rng.random((n, n_positions - 1)) < rng.random((n, 1))
    drawn = np.where(rng.random((n, 1)) < 0.5, alone, several)
    return np.pad(drawn, ((0, 0), (1, 0)))


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
