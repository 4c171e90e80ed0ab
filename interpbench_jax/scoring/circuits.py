"""Circuits from scores: of a given size, or of the size of the true circuit.

Both selections take edges one by one, `top_n` by their scores and `greedy` in the order of a search
from the logits. Dead ends are removed at the end, so the circuit may be smaller than its given
size.

Edges of the true circuit that no patch can reveal do not count towards the size. They are added if
they are ranked no lower than the last edge that is certainly taken.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from interpbench_jax.discovery import Selection
from interpbench_jax.model import Circuit, Graph
from interpbench_jax.model.circuit import Edge
from interpbench_jax.scoring.dead_ends import without_dead_ends
from interpbench_jax.scoring.items import (
    Level,
    MethodScores,
    edge_ranking,
    judged_edges,
    scored_edges,
    true_edges,
)
from interpbench_jax.scoring.node_scores import By
from interpbench_jax.scoring.ties import N_CHOICES, n_best, places

# The most choices among tied edges if no model has to be run.
_N_COUNTED = 1_000


class Circuits(NamedTuple):
    """One circuit, or all possible circuits if scores tie for its last places.

    Attributes:
      masks: true at the edges of each circuit; all are distinct.
      chances: probability of each circuit over the orders of tied edges; they add up to 1.
    """

    masks: Bool[np.ndarray, "circuit writer reader"]
    chances: Float[np.ndarray, " circuit"]


class FoundEdges(NamedTuple):
    """True, missed and false edges of a found circuit at head level, as expected values over ties.

    Edges of the true circuit that no patch can reveal are not counted.

    Attributes:
      n_true: number of true edges in the circuit.
      n_missed: number of true edges that are not in it.
      n_false: number of false edges in it.
      tied: edges that tie for its last places.
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

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; NaN if there are no edges of either kind."""
        return _share(2 * self.n_true, self.n_missed + self.n_false)

    def accuracy(self, n_edges: int) -> float:
        """Share of edges that are correctly in or out of the circuit; NaN if there are none.

        Args:
          n_edges: number of scored edges.
        """
        wrong = self.n_missed + self.n_false
        return _share(n_edges - wrong, wrong)


def circuits_of_size(
    scores: MethodScores,
    graph: Graph,
    n: int,
    *,
    selection: Selection = "top_n",
    by: By = "absolute",
) -> Circuits:
    """The first `n` edges, with q, k and v separate and `input->logits` included.

    Args:
      scores: scores of any method.
      graph: the model's graph.
      n: number of edges before dead ends are removed.
      selection: the order in which edges are taken.
      by: whether edges are ordered by absolute or by signed score.

    Raises:
      ValueError: the scores do not fit the graph, or contain NaN.
    """
    values = edge_ranking(scores, graph, level="qkv", selection=selection, edges=graph.valid, by=by)
    return _distinct(_marked(graph.valid, n_best(values[graph.valid], n)), graph, "qkv")


def found_circuits(
    scores: MethodScores,
    truth: Circuit,
    *,
    level: Level = "head",
    selection: Selection = "top_n",
    at_most: int = N_CHOICES,
) -> Circuits:
    """The first n edges, where n is the number of observable edges of the true circuit.

    `input->logits`, which is not scored, and unobservable edges do not count towards n. At head
    level the edges into q, k and v of a head are taken together and count as one.

    Args:
      scores: scores of any method.
      truth: the circuit to be found.
      level: see `edge_roc`.
      selection: the order in which edges are taken.
      at_most: the largest number of ways to break ties; see `n_best`.

    Raises:
      ValueError: the scores do not fit the circuit's graph, or contain NaN.
    """
    values, judged = _ranked(scores, truth, level, selection)
    marked = n_best(values[judged], _size(truth, level), at_most=at_most)
    masks = _marked(judged, marked) | _come_along(values, truth, level)
    return _distinct(masks, truth.graph, level)


def found_circuit(
    scores: MethodScores,
    truth: Circuit,
    *,
    level: Level = "head",
    selection: Selection = "top_n",
) -> Circuit:
    """The part of `found_circuits` that does not depend on ties: tied edges are left out.

    This circuit is drawn and listed by name.

    Args:
      scores: scores of any method.
      truth: the circuit to be found.
      level: see `edge_roc`.
      selection: the order in which edges are taken.

    Raises:
      ValueError: the scores do not fit the circuit's graph, or contain NaN.
    """
    values, judged = _ranked(scores, truth, level, selection)
    sure, _, _ = places(values[judged], _size(truth, level))
    masks = _marked(judged, sure[None]) | _come_along(values, truth, level)
    (mask,) = _distinct(masks, truth.graph, level).masks
    return Circuit.from_mask(truth.graph, mask)


def found_edges(
    scores: MethodScores, truth: Circuit, *, selection: Selection = "top_n"
) -> FoundEdges:
    """Compares the found circuit with the true one at head level.

    `input->logits` and edges that no patch can reveal are ignored.

    Args:
      scores: scores of any method.
      truth: the circuit to be found.
      selection: the order in which edges are taken.

    Raises:
      ValueError: the scores do not fit the circuit's graph, or contain NaN.
    """
    graph = truth.graph
    values, judged = _ranked(scores, truth, "head", selection)
    masks, chances = found_circuits(scores, truth, selection=selection, at_most=_N_COUNTED)
    kept = graph.to_head_level(masks)[:, judged]
    true = true_edges(truth, "head")[judged]
    n_true, n_found = chances @ kept[:, true].sum(1), chances @ kept.sum(1)
    _, tied, _ = places(values[judged], _size(truth, "head"))
    return FoundEdges(
        n_true=float(n_true),
        n_missed=float(true.sum() - n_true),
        n_false=float(n_found - n_true),
        tied=frozenset(
            (graph.writers[writer], graph.head_readers[reader])
            for writer, reader in np.argwhere(judged)[tied]
        ),
    )


def compared_edges(found: Circuit, truth: Circuit, *, level: Level = "head") -> FoundEdges:
    """Compares a circuit without a ranking with the true one; no edges tie.

    `input->logits` and edges that no patch can reveal are ignored; dead ends are kept.

    Args:
      found: the circuit.
      truth: the circuit to be found.
      level: see `edge_roc`.

    Raises:
      ValueError: the two circuits have different graphs.
    """
    if found.graph != truth.graph:
        raise ValueError(f"a circuit of {found.graph}, expected one of {truth.graph}")
    judged = judged_edges(truth, level)
    kept = (found.mask if level == "qkv" else found.head_mask)[judged]
    true = true_edges(truth, level)[judged]
    return FoundEdges(
        n_true=float((kept & true).sum()),
        n_missed=float((true & ~kept).sum()),
        n_false=float((kept & ~true).sum()),
        tied=frozenset(),
    )


def _size(truth: Circuit, level: Level) -> int:
    return int((true_edges(truth, level) & scored_edges(truth.graph, level)).sum())


def _ranked(
    scores: MethodScores, truth: Circuit, level: Level, selection: Selection
) -> tuple[
    Float[np.ndarray, "level_writer level_reader"], Bool[np.ndarray, "level_writer level_reader"]
]:
    """The ranking values of scored edges (see `edge_ranking`), and which edges are judged."""
    scored = scored_edges(truth.graph, level)
    values = edge_ranking(scores, truth.graph, level=level, selection=selection, edges=scored)
    return values, judged_edges(truth, level)


def _come_along(
    values: Float[np.ndarray, "level_writer level_reader"], truth: Circuit, level: Level
) -> Bool[np.ndarray, "level_writer level_reader"]:
    """The unobservable edges ranked no lower than the last judged edge that is certainly taken."""
    judged = judged_edges(truth, level)
    sure, _, _ = places(values[judged], _size(truth, level))
    if not sure.any():
        return np.zeros_like(judged)
    unobservable = scored_edges(truth.graph, level) & ~judged
    return unobservable & (values >= values[judged][sure].min())


def _marked(
    edges: Bool[np.ndarray, "writer reader"], chosen: Bool[np.ndarray, "choice edge"]
) -> Bool[np.ndarray, "choice writer reader"]:
    masks = np.zeros((len(chosen), *edges.shape), bool)
    masks[:, edges] = chosen
    return masks


def _distinct(
    masks: Bool[np.ndarray, "choice writer reader"], graph: Graph, level: Level
) -> Circuits:
    """The distinct circuits among equally likely choices, after dead ends are removed."""
    if level == "head":
        masks = masks[..., graph.reader_head_index] & graph.valid
    left, counts = np.unique(without_dead_ends(masks, graph), axis=0, return_counts=True)
    return Circuits(left, counts / len(masks))


def _share(part: float, rest: float) -> float:
    return part / (part + rest) if part + rest else float("nan")
