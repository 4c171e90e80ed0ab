"""Writers, readers and the edges between them: the computational graph of a network.

Writers are the parts of a network whose output can be replaced by its value on another input.
Readers take the sum of what was written before them. An edge is a writer and a later reader. A
reader is an input of a *node*: `a0.h1<q>` is the query input of head `a0.h1`, and a reader whose
name has no `<` is the only input of the node of that name. At *head level* all inputs of a node
count as one reader.
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
"""Names of a writer and a reader."""


@dataclass(frozen=True)
class Graph:
    """Names of writers and readers, and who comes before whom; static and hashable.

    Attributes:
      writers: in the order in which they write.
      readers: in the order in which they read; the last one makes the output.
      n_before: for each reader, how many writers have written before; it can read those.
    """

    writers: tuple[str, ...]
    readers: tuple[str, ...]
    n_before: tuple[int, ...]

    def __post_init__(self) -> None:
        """Checks that names are unique and that every reader has its number."""
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
        """Of a transformer 1 + L(H + 1)."""
        return len(self.writers)

    @property
    def n_readers(self) -> int:
        """Of a transformer L(3H + 1) + 1."""
        return len(self.readers)

    @property
    def n_nodes(self) -> int:
        """Everything that writes or reads; of a transformer heads, MLPs, input and logits."""
        return len({*self.writers, *self.head_readers})

    @cached_property
    def head_readers(self) -> tuple[str, ...]:
        """Names of the readers at head level: the nodes that read, in the order of `readers`."""
        return tuple(dict.fromkeys(node_of(reader) for reader in self.readers))

    @cached_property
    def _moments(self) -> tuple[int, ...]:
        """The different numbers of writers that readers have before them, ascending."""
        return tuple(sorted(set(self.n_before)))

    @cached_property
    def _writer_places(self) -> dict[str, int]:
        return {name: index for index, name in enumerate(self.writers)}

    @cached_property
    def _reader_places(self) -> dict[str, int]:
        return {name: index for index, name in enumerate(self.readers)}

    @cached_property
    def stages(self) -> Int[np.ndarray, " reader"]:
        """When each reader reads; those with the same writers before them read at once.

        In a transformer 2 l for attention of layer l, then its MLP, 2 L for logits; where attention
        and MLP are parallel, l for both, L for logits.
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
        """Which writers write at once, as no reader comes between them.

        In a transformer: the input, the heads of each layer, each MLP; where attention and MLP are
        parallel, the MLP is in the group of its layer's heads.
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
        """For each reader its place in `head_readers`."""
        place = {name: index for index, name in enumerate(self.head_readers)}
        return np.array([place[node_of(name)] for name in self.readers])

    @cached_property
    def reader_writer(self) -> Int[np.ndarray, " reader"]:
        """For each reader the place of its node among the writers; -1 where it does not write.

        What such a reader sees goes to the output, as far as anybody knows.
        """
        return np.array([self._writer_places.get(node_of(name), -1) for name in self.readers])

    @cached_property
    def head_reader_writer(self) -> Int[np.ndarray, " head_reader"]:
        """For each reader at head level the place of its node among the writers, or -1."""
        return np.array([self._writer_places.get(name, -1) for name in self.head_readers])

    @cached_property
    def head_valid(self) -> Bool[np.ndarray, "writer head_reader"]:
        """Which pairs are edges at head level."""
        return self.to_head_level(self.valid)

    def to_head_level(self, values: np.ndarray) -> np.ndarray:
        """Merges the readers of each node by the largest value: `[..., reader]` to head level.

        For a mask this is "any of them"; for scores it is the threshold at which the merged edge
        leaves a found circuit.
        """
        merged = [
            values[..., self.reader_head_index == i].max(-1) for i in range(len(self.head_readers))
        ]
        return np.stack(merged, -1)

    def one_hot(self, names: Sequence[str]) -> Float[np.ndarray, "name writer"]:
        """A row per writer named, 1 at its place: as masks of `NodePatch`.

        Raises:
          ValueError: there is no such writer.
        """
        rows = np.zeros((len(names), self.n_writers), np.float32)
        rows[np.arange(len(names)), [self.writer_index(name) for name in names]] = 1
        return rows

    def writer_index(self, name: str) -> int:
        """Looks a writer up by name.

        Raises:
          ValueError: there is no such writer.
        """
        return _look_up(self._writer_places, name, "writer")

    def reader_index(self, name: str) -> int:
        """Looks a reader up by name.

        Raises:
          ValueError: there is no such reader.
        """
        return _look_up(self._reader_places, name, "reader")


@dataclass(frozen=True, repr=False)
class TransformerGraph(Graph):
    """The graph of a transformer, with the places of its layers.

    Writers are `input` (token and position embedding), then per layer the heads `a{l}.h{h}` and the
    MLP `m{l}`. Readers are per layer all q `a{l}.h{h}<q>`, all k, all v, then the MLP `m{l}`, and
    `logits` last. Made by `Graph.of` or `transformer_graph`.

    Attributes:
      n_layers: blocks of heads and an MLP.
      n_heads: heads per layer.
      parallel: whether an MLP reads what the heads of its layer read, and none of them.
    """

    n_layers: int
    n_heads: int
    parallel: bool = False

    def __repr__(self) -> str:
        """All else follows from these."""
        parallel = ", parallel=True" if self.parallel else ""
        return f"TransformerGraph(n_layers={self.n_layers}, n_heads={self.n_heads}{parallel})"

    @property
    def writes(self) -> tuple[int, ...]:
        """How many writers write at each step of a run: the input, a layer's heads, its MLP."""
        return (1, *(self.n_heads, 1) * self.n_layers)

    def layers_before(self, stage: int) -> int:
        """Of how many layers the heads have written when a stage begins."""
        return self.writers_before(stage) // (self.n_heads + 1)

    def attention_writers(self, layer: int) -> slice:
        """Where the heads of a layer stand among the writers."""
        start = 1 + layer * (self.n_heads + 1)
        return slice(start, start + self.n_heads)

    def mlp_writer(self, layer: int) -> int:
        """Where the MLP of a layer stands among the writers."""
        return (layer + 1) * (self.n_heads + 1)

    def attention_readers(self, layer: int) -> slice:
        """Where the q, k, v inputs of a layer stand among the readers."""
        start = layer * (3 * self.n_heads + 1)
        return slice(start, start + 3 * self.n_heads)

    def mlp_reader(self, layer: int) -> int:
        """Where the MLP of a layer stands among the readers."""
        return (layer + 1) * (3 * self.n_heads + 1) - 1


@functools.cache
def transformer_graph(n_layers: int, n_heads: int, *, parallel: bool = False) -> TransformerGraph:
    """The graph of a transformer of these sizes, with attention and MLP in turn or parallel."""
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
    """The node that a reader is an input of: `a0.h1` of `a0.h1<q>`."""
    return reader.partition("<")[0]


def _look_up(places: dict[str, int], name: str, kind: str) -> int:
    if name not in places:
        raise ValueError(f"no {kind} {name!r} in this model; it has {', '.join(places)}")
    return places[name]


def edge_name(writer: str, reader: str) -> str:
    """The written form of an edge, as in `a0.h1->a1.h0<q>`."""
    return f"{writer}->{reader}"
