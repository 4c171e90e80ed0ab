"""The result of a circuit discovery tool: the common form of all file formats."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from interpbench_jax.model import Circuit, Graph
from interpbench_jax.model.graph import edge_name

Scores = Float[np.ndarray, "writer reader"] | Float[np.ndarray, " writer"]


@dataclass(frozen=True, kw_only=True)
class Discovered:
    """Scores of all edges or of all writers, a circuit, or both.

    Attributes:
      graph: the model's graph.
      scores: scores per edge, 0 where there is no edge; or per writer.
      circuit: the edges that the tool put into its circuit.
      heads_merged: whether the file merges q, k and v: an edge into a head then stands for its
        three edges.

    Raises:
      ValueError: there are neither scores nor a circuit, or they do not fit the graph.
    """

    graph: Graph
    scores: Scores | None = None
    circuit: Circuit | None = None
    heads_merged: bool = False

    def __post_init__(self) -> None:
        """Checks shapes, and that no score is NaN."""
        if self.scores is None and self.circuit is None:
            raise ValueError("neither scores nor a circuit")
        if self.circuit is not None and self.circuit.graph != self.graph:
            raise ValueError(f"a circuit of {self.circuit.graph}, expected one of {self.graph}")
        if self.scores is not None:
            check_scores(self.scores, self.graph)


def check_scores(scores: np.ndarray, graph: Graph) -> None:
    """Checks that there is one score per edge or per writer, and no NaN.

    Raises:
      ValueError: they have another shape, or one of them is NaN; the message names it.
    """
    shapes = graph.valid.shape, (graph.n_writers,)
    if scores.shape not in shapes:
        raise ValueError(
            f"scores have shape {scores.shape}, expected {shapes[0]}, one per writer and reader, "
            f"or {shapes[1]}, one per writer"
        )
    if scores.ndim == 1:
        missing = [graph.writers[place] for place in np.flatnonzero(np.isnan(scores))]
    else:
        wrong = np.argwhere(np.isnan(scores) & graph.valid)
        missing = [edge_name(graph.writers[w], graph.readers[r]) for w, r in wrong]
    if missing:
        raise ValueError(f"the score of {missing[0]} is NaN")


def same_discovery(one: Discovered, other: Discovered) -> bool:
    """Whether two results are bitwise equal."""

    def equal(a: Any, b: Any) -> bool:
        return (a is None) == (b is None) and (a is None or np.array_equal(a, b))

    return (
        one.graph == other.graph
        and equal(one.scores, other.scores)
        and one.circuit == other.circuit
        and one.heads_merged == other.heads_merged
    )


def marked(graph: Graph, mask: Bool[np.ndarray, "writer reader"]) -> Circuit:
    """The circuit of marked edges.

    Raises:
      ValueError: a marked pair is not an edge; the message names it.
    """
    if (strange := np.argwhere(mask & ~graph.valid)).size:
        writer, reader = strange[0]
        name = edge_name(graph.writers[writer], graph.readers[reader])
        raise ValueError(f"{name} is not an edge: the reader comes first")
    return Circuit.from_mask(graph, mask)
