"""Figures for notebooks: each function draws on Matplotlib axes and returns them."""

from collections.abc import Mapping

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Array, Int
from matplotlib.axes import Axes

from interpbench_jax.benchmark.draw import draw_circuit
from interpbench_jax.benchmark.report.looks import look
from interpbench_jax.model import Circuit, attention_weights
from interpbench_jax.scoring import edge_roc
from interpbench_jax.scoring.items import Level, MethodScores, NodeScores
from interpbench_jax.zoo import BenchmarkModel

_IN, _OUT = look(0).colour, look(4).colour


def circuit(truth: Circuit, found: Circuit | None = None, *, ax: Axes | None = None) -> Axes:
    """Draws a circuit: layers from bottom to top, one arrow per head-level edge.

    Args:
      truth: the true circuit.
      found: the circuit to draw, with true, false and missed edges marked; by default the true
        circuit.
      ax: the axes to draw on; new axes by default.
    """
    ax = ax or _axes(4.2, 4.2)
    title = "true circuit" if found is None else "found circuit"
    draw_circuit(ax, truth, truth if found is None else found, title)
    return ax


def attention(
    model: BenchmarkModel,
    tokens: Int[Array | np.ndarray, " pos"],
    head: str,
    *,
    ax: Axes | None = None,
) -> Axes:
    """Draws a head's attention weights on one input: a row per query, a column per key.

    Args:
      model: the model.
      tokens: token ids of the input, BOS first.
      head: name of the head, such as `a1.h2`.
      ax: the axes to draw on; new axes by default.

    Raises:
      ValueError: the model has no such head.
    """
    heads = [name for name in model.graph.writers if name.startswith("a")]
    if head not in heads:
        raise ValueError(f"no head {head!r}; the model has {', '.join(heads)}")
    layer, place = map(int, head[1:].split(".h"))
    weights = attention_weights(model.params, model.config, jnp.asarray(tokens)[None])
    ax = ax or _axes(3.6, 3.2)
    image = ax.imshow(np.asarray(weights[0, layer, place]), vmin=0, vmax=1, cmap="Blues")
    labels = _labels(model, np.asarray(tokens))
    ax.set_xticks(range(len(labels)), labels)
    ax.set_yticks(range(len(labels)), labels)
    ax.set(title=f"attention of {head}", xlabel="key", ylabel="query")
    ax.figure.colorbar(image, ax=ax, shrink=0.8)
    return ax


def roc(
    scores: Mapping[str, MethodScores],
    truth: Circuit,
    *,
    level: Level = "head",
    ax: Axes | None = None,
) -> Axes:
    """Draws the ROC curves of methods for the edges of the true circuit.

    Args:
      scores: scores of edges or nodes, by the name of the method.
      truth: the true circuit.
      level: see `scoring.edge_roc`.
      ax: the axes to draw on; new axes by default.

    Raises:
      ValueError: as `scoring.edge_roc`.
    """
    ax = ax or _axes(4.2, 3.8)
    for place, (name, values) in enumerate(scores.items()):
        found, style = edge_roc(values, truth, level=level), look(place)
        ax.plot(
            [0, *found.false_positive_rate],
            [0, *found.true_positive_rate],
            color=style.colour,
            linestyle=(0, style.dash) if style.dash else "-",
            label=f"{name} ({found.auroc:.3f})",
        )
    ax.plot([0, 1], [0, 1], color="grey", linewidth=0.7, linestyle=(0, (4, 4)), label="chance")
    ax.set(xlabel="false positive rate", ylabel="true positive rate", title="edges: ROC (AUROC)")
    ax.legend(frameon=False, fontsize=8)
    return ax


def effects(values: NodeScores, truth: Circuit, *, ax: Axes | None = None) -> Axes:
    """Draws one number per writer, such as its effect; the circuit's nodes are highlighted.

    Args:
      values: one value per writer.
      truth: the true circuit.
      ax: the axes to draw on; new axes by default.

    Raises:
      ValueError: the number of values is not the number of writers.
    """
    writers = truth.graph.writers
    if len(values) != len(writers):
        raise ValueError(f"{len(values)} values for {len(writers)} writers")
    ax = ax or _axes(4.2, 0.8 + 0.24 * len(writers))
    inside = [writer in truth.nodes for writer in writers]
    for places, colour, label in (
        (np.flatnonzero(inside), _IN, "in the circuit"),
        (np.flatnonzero(~np.array(inside)), _OUT, "outside"),
    ):
        ax.barh(places, np.asarray(values)[places], color=colour, label=label)
    ax.set_yticks(range(len(writers)), writers)
    ax.invert_yaxis()
    ax.legend(frameon=False, fontsize=8)
    ax.grid(axis="x", alpha=0.25)
    return ax


def _axes(width: float, height: float) -> Axes:
    _, axes = plt.subplots(figsize=(width, height), layout="constrained")
    return axes


def _labels(model: BenchmarkModel, tokens: np.ndarray) -> list[str]:
    """Tokens in readable form, if the task has text for them."""
    codec = getattr(model.task, "codec", None)
    if codec is None:
        return [str(model.task.vocabulary[int(token)]) for token in tokens]
    words = dict(zip(codec.token_ids, model.task.vocabulary, strict=True)) | {codec.bos: "BOS"}
    return [str(words.get(int(token), "pad")) for token in tokens]
