"""The map from an algorithm's writers, readers and edges to those of a network."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, TypeVar

import numpy as np
from jaxtyping import Bool, Float

from interpbench_jax.model import Circuit, Graph, TransformerConfig
from interpbench_jax.model.circuit import Edge
from interpbench_jax.model.graph import edge_name, node_of
from interpbench_jax.model.network import Network, as_network


@dataclass(frozen=True)
class Site:
    """The part of a network that holds a variable.

    Attributes:
      nodes: writers of the network.
    """

    nodes: tuple[str, ...]

    def __post_init__(self) -> None:
        """Checks that there is at least one node."""
        if not self.nodes:
            raise ValueError("a site needs at least one node")


N = TypeVar("N", bound=TransformerConfig | Network)


@dataclass(frozen=True)
class Alignment(Generic[N]):
    """A map from an algorithm to a network; static and hashable.

    Every edge of the algorithm's circuit corresponds to edges of the network: from each node of the
    writer's site to each node of the reader's site. A reader `x<q>` corresponds to the query inputs
    of its site, a reader without `<` to all inputs. The algorithm's last reader corresponds to the
    network's. All other edges of the network are *outside*: patching them must change nothing.

    Attributes:
      algorithm: the edges of the algorithm, in its own graph.
      network: the network, or a transformer's shape.
      places: `(writer of the algorithm, its site)`, in the algorithm's order, the input first;
        writers without outgoing edges may be omitted.

    Raises:
      ValueError: a writer has no site or an unknown one, or an edge of the algorithm has no
        counterpart in the network.
    """

    algorithm: Circuit
    network: N
    places: tuple[tuple[str, Site], ...]

    def __post_init__(self) -> None:
        """Checks that every writer has a site, and every edge a counterpart."""
        known = self.algorithm.graph.writers
        given = [name for name, _ in self.places]
        if unknown := [name for name in given if name not in known]:
            raise ValueError(f"no variable {', '.join(unknown)}; there are {', '.join(known)}")
        edges, output = self.algorithm.edges, self.algorithm.graph.readers[-1]
        used = {known[0], *(writer for writer, _ in edges)}
        used |= {node_of(reader) for _, reader in edges if reader != output}
        if missing := [name for name in known if name in used and name not in given]:
            raise ValueError(f"no place is given for {', '.join(missing)}")
        for _, site in self.places:
            for node in site.nodes:
                self.graph.writer_index(node)
        self._check_counterparts()

    @cached_property
    def graph(self) -> Graph:
        """The network's graph."""
        return as_network(self.network).graph

    @cached_property
    def sites(self) -> Mapping[str, Site]:
        """The site of every writer of the algorithm."""
        return dict(self.places)

    @property
    def variables(self) -> tuple[str, ...]:
        """Writers of the algorithm other than its input, in order."""
        return tuple(name for name, site in self.places if site != self._input_site)

    @property
    def _input_site(self) -> Site:
        return self.places[0][1]

    def edges_of(self, edge: Edge) -> tuple[Edge, ...]:
        """The edges of the network that correspond to an edge of the algorithm."""
        writer, reader = edge
        readers = self._readers_of(reader)
        return tuple((node, to) for node in self.sites[writer].nodes for to in readers)

    def _readers_of(self, reader: str) -> tuple[str, ...]:
        node, _, kind = reader.partition("<")
        if reader == self.algorithm.graph.readers[-1]:
            return (self.graph.readers[-1],)
        own = [name for name in self.graph.readers if node_of(name) in self.sites[node].nodes]
        of_kind = [name for name in own if name.endswith(f"<{kind}")] if kind else own
        # A node without separate query, key and value inputs has one input for all of them.
        return tuple(of_kind or (name for name in own if "<" not in name))

    def _check_counterparts(self) -> None:
        """Checks that every edge of the algorithm has counterparts that are edges.

        Raises:
          ValueError: one is not.
        """
        for writer, reader in self.algorithm:
            for from_, to in self.edges_of((writer, reader)):
                edge = self.graph.writer_index(from_), self.graph.reader_index(to)
                if not self.graph.valid[edge]:
                    raise ValueError(
                        f"{edge_name(writer, reader)} would be {edge_name(from_, to)}, but {to} "
                        f"reads before {from_} writes"
                    )

    @cached_property
    def circuit(self) -> Circuit:
        """The ground truth: all edges of the network that correspond to one of the algorithm."""
        edges = (edge for own in self.algorithm for edge in self.edges_of(own))
        return Circuit(self.graph, frozenset(edges))

    @cached_property
    def outside(self) -> Bool[np.ndarray, "writer reader"]:
        """True at the network's edges that correspond to no edge of the algorithm."""
        return self.graph.valid & ~self.circuit.mask

    @property
    def nodes(self) -> tuple[str, ...]:
        """For each variable, the node that holds it.

        Raises:
          ValueError: a variable has several nodes.
        """
        several = [name for name in self.variables if len(self.sites[name].nodes) > 1]
        if several:
            raise ValueError(
                f"{several[0]} has the nodes {', '.join(self.sites[several[0]].nodes)}"
            )
        return tuple(self.sites[name].nodes[0] for name in self.variables)

    @cached_property
    def aligned_nodes(self) -> tuple[str, ...]:
        """Nodes of the network that hold a variable, each once, in the algorithm's order."""
        return tuple(
            dict.fromkeys(node for name in self.variables for node in self.sites[name].nodes)
        )

    @cached_property
    def free_nodes(self) -> tuple[str, ...]:
        """Writers of the network that hold no variable: their outputs should not matter."""
        held = {*self.aligned_nodes, *self._input_site.nodes}
        return tuple(name for name in self.graph.writers if name not in held)

    @cached_property
    def groups(self) -> tuple[tuple[frozenset[Edge], frozenset[Edge]], ...]:
        """The smallest sets of edges that can be patched equally in the algorithm and the network.

        Each is a pair (edges of the algorithm, edges of the network): usually one edge of the
        algorithm and its counterparts; if variables share a node, all edges that have counterparts
        in common.
        """
        found: list[tuple[set[Edge], set[Edge]]] = []
        for edge in self.algorithm:
            own, theirs = {edge}, set(self.edges_of(edge))
            for other in [group for group in found if group[1] & theirs]:
                found.remove(other)
                own, theirs = own | other[0], theirs | other[1]
            found.append((own, theirs))
        return tuple((frozenset(own), frozenset(theirs)) for own, theirs in found)


def group_masks(
    alignment: Alignment,
) -> tuple[Bool[np.ndarray, "group _ _"], Bool[np.ndarray, "group writer reader"]]:
    """Masks of every group of the circuit's edges, in the algorithm and in the network."""
    own_graph, graph = alignment.algorithm.graph, alignment.graph
    own = [Circuit(own_graph, edges).mask for edges, _ in alignment.groups]
    theirs = [Circuit(graph, edges).mask for _, edges in alignment.groups]
    return (
        np.array(own, bool).reshape(-1, *own_graph.valid.shape),
        np.array(theirs, bool).reshape(-1, *graph.valid.shape),
    )


def group_union(
    sets: Bool[np.ndarray, "set group"], masks: Bool[np.ndarray, "group _ _"]
) -> Float[np.ndarray, "set _ _"]:
    """For each set of groups, 1 at the edges of its groups.

    Args:
      sets: the groups of each set.
      masks: the edges of every group; see `group_masks`.
    """
    union = np.tensordot(sets.astype(np.float32), masks.astype(np.float32), 1) > 0
    return union.astype(np.float32)
