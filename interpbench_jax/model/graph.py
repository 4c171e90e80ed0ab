"""Writers, readers and the edges between them: the computational graph of a transformer.

Writers put a vector into the residual stream: `input` (token and position embedding), every head
`a{l}.h{h}`, every MLP `m{l}`. Readers take the sum of what was written before them: the query, key
and value inputs of every head `a{l}.h{h}<q>`, every MLP `m{l}`, and `logits`. At *head level* the
three inputs of a head count as one *node*.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from interpbench_jax.model.config import TransformerConfig


@dataclass(frozen=True)
class Graph:
    """Index layout and names of writers, readers and nodes; static and hashable.

    Writers are ordered input, then per layer the heads and the MLP. Readers are ordered per layer
    all q, all k, all v, then the MLP, and `logits` last. Nodes are the writers without the input,
    followed by `logits`.
    """

    n_layers: int
    n_heads: int

    @classmethod
    def of(cls, config: TransformerConfig) -> "Graph":
        """The graph of a model."""
        return cls(config.n_layers, config.n_heads)

    @property
    def n_writers(self) -> int:
        """W = 1 + L(H + 1)."""
        return 1 + self.n_layers * (self.n_heads + 1)

    @property
    def n_readers(self) -> int:
        """R = L(3H + 1) + 1."""
        return self.n_layers * (3 * self.n_heads + 1) + 1

    @property
    def n_nodes(self) -> int:
        """Heads, MLPs, input and logits."""
        return self.n_writers + 1

    @cached_property
    def writers(self) -> tuple[str, ...]:
        """Names of the writers."""
        names = ["input"]
        for layer in range(self.n_layers):
            names += [f"a{layer}.h{head}" for head in range(self.n_heads)] + [f"m{layer}"]
        return tuple(names)

    @cached_property
    def readers(self) -> tuple[str, ...]:
        """Names of the readers."""
        names = []
        for layer in range(self.n_layers):
            names += [f"a{layer}.h{head}<{x}>" for x in "qkv" for head in range(self.n_heads)]
            names.append(f"m{layer}")
        return (*names, "logits")

    @cached_property
    def head_readers(self) -> tuple[str, ...]:
        """Names of the readers at head level: every writer but the input, then `logits`."""
        return (*self.writers[1:], "logits")

    @cached_property
    def _writer_places(self) -> dict[str, int]:
        return {name: index for index, name in enumerate(self.writers)}

    @cached_property
    def _reader_places(self) -> dict[str, int]:
        return {name: index for index, name in enumerate(self.readers)}

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

    @cached_property
    def stages(self) -> Int[np.ndarray, " reader"]:
        """When each reader reads: 2 l for attention of layer l, then its MLP, 2 L for logits."""
        of_layer = [0] * (3 * self.n_heads) + [1]
        stages = [2 * layer + stage for layer in range(self.n_layers) for stage in of_layer]
        return np.array([*stages, 2 * self.n_layers])

    def writers_before(self, stage: int) -> int:
        """How many writers have written when a stage begins."""
        return 1 + (stage // 2) * (self.n_heads + 1) + (stage % 2) * self.n_heads

    @cached_property
    def valid(self) -> Bool[np.ndarray, "writer reader"]:
        """Which (writer, reader) pairs are edges: the writer comes before the reader."""
        before = np.array([self.writers_before(stage) for stage in self.stages.tolist()])
        return np.arange(self.n_writers)[:, None] < before[None, :]

    @cached_property
    def writer_groups(self) -> Bool[np.ndarray, "group writer"]:
        """Which writers write at once: the input, the heads of each layer, each MLP."""
        starts = [0, *(self.writers_before(stage) for stage in range(2 * self.n_layers + 1))]
        place = np.arange(self.n_writers)
        return np.stack([(a <= place) & (place < b) for a, b in itertools.pairwise(starts)])

    @cached_property
    def edges(self) -> Int[np.ndarray, "edge 2"]:
        """Every edge as (writer index, reader index), sorted."""
        return np.argwhere(self.valid)

    @cached_property
    def reader_head_index(self) -> Int[np.ndarray, " reader"]:
        """For each reader its place in `head_readers`."""
        place = {name: index for index, name in enumerate(self.head_readers)}
        return np.array([place[name.split("<")[0]] for name in self.readers])

    @cached_property
    def head_valid(self) -> Bool[np.ndarray, "writer head_reader"]:
        """Which pairs are edges at head level."""
        return self.to_head_level(self.valid)

    def to_head_level(self, values: np.ndarray) -> np.ndarray:
        """Merges q, k and v of each head by the largest value: `[..., reader]` to head level.

        For a mask this is "any of the three"; for scores it is the threshold at which the merged
        edge leaves a found circuit.
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


def _look_up(places: dict[str, int], name: str, kind: str) -> int:
    if name not in places:
        raise ValueError(f"no {kind} {name!r} in this model; it has {', '.join(places)}")
    return places[name]


def edge_name(writer: str, reader: str) -> str:
    """The written form of an edge, as in `a0.h1->a1.h0<q>`."""
    return f"{writer}->{reader}"
