"""Writers, readers and the edges between them: the computational graph of a network.

A writer is a part of a network whose output can be replaced by its value on another input. A reader
takes the sum of what was written before it. An edge is a writer and a later reader. A reader is an
input of a *node*: `a0.h1<q>` is the query input of head `a0.h1`, and a reader whose name has no `<`
is the only input of the node of that name. At *head level* all inputs of a node count as one
reader.
"""

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from interpbench_jax.model.config import TransformerConfig
from interpbench_jax.model.decoders.config import DecoderConfig

Edge = tuple[str, str]
"""The names of a writer and a reader."""


@dataclass(frozen=True)
class Graph:
    """The names of writers and readers, and their order; static and hashable.

    Attributes:
      writers: names, in the order in which they write.
      readers: names, in the order in which they read; the last one makes the output.
      n_before: for each reader, how many of the writers come before it; it reads these.
    """

    writers: tuple[str, ...]
    readers: tuple[str, ...]
    n_before: tuple[int, ...]

    def __post_init__(self) -> None:
        """Checks that names are unique and that every reader has an entry in `n_before`."""
        for kind, names in (("writer", self.writers), ("reader", self.readers)):
            if not names:
                raise ValueError(f"a graph needs at least one {kind}")
            if len(set(names)) != len(names):
                twice = next(name for name in names if names.count(name) > 1)
                raise ValueError(f"two {kind}s are named {twice!r}")
        if len(self.n_before) != len(self.readers):
            raise ValueError(
                f"{len(self.readers)} readers, but n_before has {len(self.n_before)} numbers"
            )
        for reader, n in zip(self.readers, self.n_before, strict=True):
            if not 0 <= n <= len(self.writers):
                raise ValueError(f"{reader} cannot read {n} of {len(self.writers)} writers")

    @staticmethod
    def of(config: TransformerConfig | DecoderConfig) -> "TransformerGraph":
        """The graph of a transformer."""
        parallel = isinstance(config, DecoderConfig) and config.parallel
        return transformer_graph(config.n_layers, config.n_heads, parallel=parallel)

    @property
    def n_writers(self) -> int:
        """The number of writers; for a transformer 1 + L(H + 1)."""
        return len(self.writers)

    @property
    def n_readers(self) -> int:
        """The number of readers; for a transformer L(3H + 1) + 1."""
        return len(self.readers)

    @property
    def n_nodes(self) -> int:
        """The number of nodes that write or read; for a transformer heads, MLPs, input, logits."""
        return len({*self.writers, *self.head_readers})

    @cached_property
    def head_readers(self) -> tuple[str, ...]:
        """Names of the readers at head level: the nodes that read, in the order of `readers`."""
        return tuple(dict.fromkeys(node_of(reader) for reader in self.readers))

    @cached_property
    def _moments(self) -> tuple[int, ...]:
        """The distinct values of `n_before`, ascending."""
        return tuple(sorted(set(self.n_before)))

    @cached_property
    def _writer_places(self) -> dict[str, int]:
        return {name: index for index, name in enumerate(self.writers)}

    @cached_property
    def _reader_places(self) -> dict[str, int]:
        return {name: index for index, name in enumerate(self.readers)}

    @cached_property
    def stages(self) -> Int[np.ndarray, " reader"]:
        """The stage in which each reader reads; readers with the same writers before them share it.

        In a transformer: 2 l for attention of layer l, 2 l + 1 for its MLP, 2 L for logits. With
        parallel attention and MLP: l for both, L for logits.
        """
        return np.array([self._moments.index(n) for n in self.n_before])

    def writers_before(self, stage: int) -> int:
        """How many writers have written when a stage begins."""
        return self._moments[stage]

    @cached_property
    def valid(self) -> Bool[np.ndarray, "writer reader"]:
        """Which (writer, reader) pairs are edges: the writer comes before the reader."""
        return np.arange(self.n_writers)[:, None] < np.array(self.n_before)[None, :]

    @cached_property
    def writer_groups(self) -> Bool[np.ndarray, "group writer"]:
        """The groups of writers that have no reader between them.

        In a transformer: the input, the heads of each layer, each MLP. With parallel attention and
        MLP, the MLP is in the group of its layer's heads.
        """
        ends = sorted({0, *self.n_before, self.n_writers})
        place = np.arange(self.n_writers)
        return np.stack([(a <= place) & (place < b) for a, b in itertools.pairwise(ends)])

    @cached_property
    def edges(self) -> Int[np.ndarray, "edge 2"]:
        """Every edge as (writer index, reader index), sorted."""
        return np.argwhere(self.valid)

    @cached_property
    def reader_head_index(self) -> Int[np.ndarray, " reader"]:
        """For each reader, its index in `head_readers`."""
        place = {name: index for index, name in enumerate(self.head_readers)}
        return np.array([place[node_of(name)] for name in self.readers])

    @cached_property
    def reader_writer(self) -> Int[np.ndarray, " reader"]:
        """For each reader, the index of its node among the writers; -1 if the node does not write.

        A reader of a node that does not write is treated as leading to the output.
        """
        return np.array([self._writer_places.get(node_of(name), -1) for name in self.readers])

    @cached_property
    def head_reader_writer(self) -> Int[np.ndarray, " head_reader"]:
        """For each reader at head level, the index of its node among the writers, or -1."""
        return np.array([self._writer_places.get(name, -1) for name in self.head_readers])

    @cached_property
    def head_valid(self) -> Bool[np.ndarray, "writer head_reader"]:
        """Which pairs are edges at head level."""
        return self.to_head_level(self.valid)

    def to_head_level(self, values: np.ndarray) -> np.ndarray:
        """Merges the readers of each node by the largest value: `[..., reader]` to head level.

        For a mask this is a logical or; for scores it is the threshold at which the merged edge
        leaves a found circuit.
        """
        merged = [
            values[..., self.reader_head_index == i].max(-1) for i in range(len(self.head_readers))
        ]
        return np.stack(merged, -1)

    def one_hot(self, names: Sequence[str]) -> Float[np.ndarray, "name writer"]:
        """One row per name, with 1 at that writer: masks of `NodePatch`.

        Raises:
          ValueError: there is no such writer.
        """
        rows = np.zeros((len(names), self.n_writers), np.float32)
        rows[np.arange(len(names)), [self.writer_index(name) for name in names]] = 1
        return rows

    def writer_index(self, name: str) -> int:
        """The index of a writer.

        Raises:
          ValueError: there is no such writer.
        """
        return _look_up(self._writer_places, name, "writer")

    def reader_index(self, name: str) -> int:
        """The index of a reader.

        Raises:
          ValueError: there is no such reader.
        """
        return _look_up(self._reader_places, name, "reader")


@dataclass(frozen=True, repr=False)
class TransformerGraph(Graph):
    """The graph of a transformer, with the indices of its layers.

    The writers are `input` (token and position embedding), then for each layer the heads
    `a{l}.h{h}` and the MLP `m{l}`. The readers are, for each layer, all q `a{l}.h{h}<q>`, all k,
    all v and the MLP `m{l}`; `logits` is last. Made by `Graph.of` or `transformer_graph`.

    Attributes:
      n_layers: blocks of heads and an MLP.
      n_heads: heads per layer.
      parallel: whether an MLP reads the same writers as its layer's heads, and not these heads.
    """

    n_layers: int
    n_heads: int
    parallel: bool = False

    def __repr__(self) -> str:
        """Shows the sizes; the names follow from them."""
        parallel = ", parallel=True" if self.parallel else ""
        return f"TransformerGraph(n_layers={self.n_layers}, n_heads={self.n_heads}{parallel})"

    @property
    def writes(self) -> tuple[int, ...]:
        """How many writers write at each step of a run: the input, a layer's heads, its MLP."""
        return (1, *(self.n_heads, 1) * self.n_layers)

    def layers_before(self, stage: int) -> int:
        """The number of layers whose heads have written when a stage begins."""
        return self.writers_before(stage) // (self.n_heads + 1)

    def attention_writers(self, layer: int) -> slice:
        """The indices of a layer's heads among the writers."""
        start = 1 + layer * (self.n_heads + 1)
        return slice(start, start + self.n_heads)

    def mlp_writer(self, layer: int) -> int:
        """The index of a layer's MLP among the writers."""
        return (layer + 1) * (self.n_heads + 1)

    def attention_readers(self, layer: int) -> slice:
        """The indices of a layer's q, k and v inputs among the readers."""
        start = layer * (3 * self.n_heads + 1)
        return slice(start, start + 3 * self.n_heads)

    def mlp_reader(self, layer: int) -> int:
        """The index of a layer's MLP among the readers."""
        return (layer + 1) * (3 * self.n_heads + 1) - 1


@functools.cache
def transformer_graph(n_layers: int, n_heads: int, *, parallel: bool = False) -> TransformerGraph:
    """The graph of a transformer, with attention and MLP one after the other or parallel."""
    writers, readers, n_before = ["input"], [], []
    for layer in range(n_layers):
        heads = [f"a{layer}.h{head}" for head in range(n_heads)]
        read = [f"{head}<{kind}>" for kind in "qkv" for head in heads]
        readers += [*read, f"m{layer}"]
        n_before += [len(writers)] * len(read) + [len(writers) + (0 if parallel else n_heads)]
        writers += [*heads, f"m{layer}"]
    readers.append("logits")
    n_before.append(len(writers))
    return TransformerGraph(
        tuple(writers),
        tuple(readers),
        tuple(n_before),
        n_layers=n_layers,
        n_heads=n_heads,
        parallel=parallel,
    )


def node_of(reader: str) -> str:
    """The node that a reader is an input of: `a0.h1` for `a0.h1<q>`."""
    return reader.partition("<")[0]


def _look_up(places: dict[str, int], name: str, kind: str) -> int:
    if name not in places:
        raise ValueError(f"no {kind} {name!r} in this model; it has {', '.join(places)}")
    return places[name]


def edge_name(writer: str, reader: str) -> str:
    """The written form of an edge, as in `a0.h1->a1.h0<q>`."""
    return f"{writer}->{reader}"


def split_edge(name: str) -> Edge:
    """The writer and the reader of an edge by its written form; undone by `edge_name`.

    Raises:
      ValueError: the name has another form.
    """
    writer, *readers = name.split("->")
    if len(readers) != 1:
        raise ValueError(f"edge {name!r:.200} is not of the form 'writer->reader'")
    return writer.strip(), readers[0].strip()
