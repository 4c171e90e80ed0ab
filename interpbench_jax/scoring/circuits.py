"""The circuits that scores stand for: of a given size, and of the size of the true one.

Both selections take edges one after another, `top_n` by their scores and `greedy` in the order of a
search from the logits. Once a circuit has its size, dead ends are removed from it, so that it may
end up smaller.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from interpbench_jax.discovery import Selection
from interpbench_jax.model import Circuit, Graph
from interpbench_jax.model.circuit import Edge
from interpbench_jax.scoring.dead_ends import without_dead_ends
from interpbench_jax.scoring.items import (
    EdgeScores,
    Level,
    NodeScores,
    edge_ranking,
    scored_edges,
)
from interpbench_jax.scoring.node_scores import By
from interpbench_jax.scoring.ties import N_CHOICES, n_best, places

# Counting edges takes no run of a model.
_N_COUNTED = 1_000


class Circuits(NamedTuple):
    """One circuit, or where scores tie for its last places those that it may be.

    Attributes:
      masks: true at the edges of each; no two are equal.
      chances: of each over the orders of tied edges; they add up to 1.
    """

    masks: Bool[np.ndarray, "circuit writer reader"]
    chances: Float[np.ndarray, " circuit"]


class FoundEdges(NamedTuple):
    """What is right and wrong in a found circuit, at head level: expected values over tied edges.

    Attributes:
      n_true: true edges in it.
      n_missed: true edges not in it.
      n_false: edges in it that are not true.
      tied: edges that tie for its last places; which of them it has is chance.
    """

    n_true: float
    n_missed: float
    n_false: float
    tied: frozenset[Edge]

    @property
    def precision(self) -> float:
        """Share of the found edges that are true; NaN if none are found."""
        return _share(self.n_true, self.n_false)

    @property
    def recall(self) -> float:
        """Share of the true edges that are found; NaN if there are none."""
        return _share(self.n_true, self.n_missed)


def circuits_of_size(
    scores: EdgeScores | NodeScores,
    graph: Graph,
    n: int,
    *,
    selection: Selection = "top_n",
    by: By = "absolute",
) -> Circuits:
    """The `n` edges that are taken first, q, k and v apart and `input->logits` among them.

    Args:
      scores: of any method.
      graph: the model's graph.
      n: how many edges, before dead ends are removed.
      selection: the order in which edges are taken.
      by: what a large score is: one of large size, or a large positive one.

    Raises:
      ValueError: the scores do not fit the graph, or contain NaN.
    """
    values = edge_ranking(scores, graph, level="qkv", selection=selection, edges=graph.valid, by=by)
    return _distinct(_marked(graph.valid, n_best(values[graph.valid], n)), graph, "qkv")


def found_circuits(
    scores: EdgeScores | NodeScores,
    truth: Circuit,
    *,
    level: Level = "head",
    selection: Selection = "top_n",
    at_most: int = N_CHOICES,
) -> Circuits:
    """As many edges as the true circuit has, those that are taken first.

    `input->logits`, which is not scored, takes none of the places. At head level the edges into
    q, k and v of a head come together and count as one.

    Args:
      scores: of any method.
      truth: the circuit to be found.
      level: see `edge_roc`.
      selection: the order in which edges are taken.
      at_most: how many ways to break ties are looked at, see `n_best`.

    Raises:
      ValueError: the scores do not fit the circuit's graph, or contain NaN.
    """
    scored = scored_edges(truth.graph, level)
    values = edge_ranking(scores, truth.graph, level=level, selection=selection, edges=scored)
    marked = n_best(values[scored], _size(truth, level), at_most=at_most)
    return _distinct(_marked(scored, marked), truth.graph, level)


def found_circuit(
    scores: EdgeScores | NodeScores,
    truth: Circuit,
    *,
    level: Level = "head",
    selection: Selection = "top_n",
) -> Circuit:
    """The part of `found_circuits` that is no matter of chance: edges that tie are left out.

    It is what is drawn and listed by name.

    Args:
      scores: of any method.
      truth: the circuit to be found.
      level: see `edge_roc`.
      selection: the order in which edges are taken.

    Raises:
      ValueError: the scores do not fit the circuit's graph, or contain NaN.
    """
    scored = scored_edges(truth.graph, level)
    values = edge_ranking(scores, truth.graph, level=level, selection=selection, edges=scored)
    sure, _, _ = places(values[scored], _size(truth, level))
    (mask,) = _distinct(_marked(scored, sure[None]), truth.graph, level).masks
    return Circuit.from_mask(truth.graph, mask)


def found_edges(
    scores: EdgeScores | NodeScores, truth: Circuit, *, selection: Selection = "top_n"
) -> FoundEdges:
    """Compares the found circuit with the true one at head level, `input->logits` aside.

    Args:
      scores: of any method.
      truth: the circuit to be found.
      selection: the order in which edges are taken.

    Raises:
      ValueError: the scores do not fit the circuit's graph, or contain NaN.
    """
    graph, scored = truth.graph, scored_edges(truth.graph, "head")
    masks, chances = found_circuits(scores, truth, selection=selection, at_most=_N_COUNTED)
    kept = graph.to_head_level(masks)[:, scored]
    true = truth.head_mask[scored]
    n_true, n_found = chances @ kept[:, true].sum(1), chances @ kept.sum(1)
    values = edge_ranking(scores, graph, level="head", selection=selection, edges=scored)
    _, tied, _ = places(values[scored], _size(truth, "head"))
    return FoundEdges(
        n_true=float(n_true),
        n_missed=float(true.sum() - n_true),
        n_false=float(n_found - n_true),
        tied=frozenset(
            (graph.writers[writer], graph.head_readers[reader])
            for writer, reader in np.argwhere(scored)[tied]
        ),
    )


def _size(truth: Circuit, level: Level) -> int:
    true = truth.mask if level == "qkv" else truth.head_mask
    return int(true[scored_edges(truth.graph, level)].sum())


def _marked(
    edges: Bool[np.ndarray, "writer reader"], chosen: Bool[np.ndarray, "choice edge"]
) -> Bool[np.ndarray, "choice writer reader"]:
    masks = np.zeros((len(chosen), *edges.shape), bool)
    masks[:, edges] = chosen
    return masks


def _distinct(
    masks: Bool[np.ndarray, "choice writer reader"], graph: Graph, level: Level
) -> Circuits:
    """What is left of equally likely choices without dead ends."""
    if level == "head":
        masks = masks[..., graph.reader_head_index] & graph.valid
    left, counts = np.unique(without_dead_ends(masks, graph), axis=0, return_counts=True)
    return Circuits(left, counts / len(masks))


def _share(part: float, rest: float) -> float:
    return part / (part + rest) if part + rest else float("nan")
