"""Figures for notebooks show the given data, also on axes passed by the caller."""

import jax
import matplotlib as mpl
import numpy as np
import pytest

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.patches import Rectangle

import interpbench_jax as ib


@pytest.fixture(scope="module")
def model() -> ib.BenchmarkModel:
    return ib.load_model("3")


def texts(ax) -> list[str]:
    return [text.get_text() for text in ax.texts]


def test_circuits(model: ib.BenchmarkModel) -> None:
    ax = ib.plot.circuit(model.circuit)
    assert set(texts(ax)) == {node for edge in model.circuit.head_edges for node in edge}
    few = ib.Circuit(model.graph, frozenset([("input", "m0")]))
    _, own = plt.subplots()
    assert ib.plot.circuit(model.circuit, few, ax=own) is own
    assert own.get_title() == "found circuit"
    plt.close("all")


def test_attention(model: ib.BenchmarkModel) -> None:
    tokens = model.task.contrast(1, jax.random.key(0)).clean[0]
    ax = ib.plot.attention(model, tokens, "a1.h2")
    weights = ax.images[0].get_array()
    np.testing.assert_allclose(np.asarray(weights).sum(1), 1, atol=1e-6)
    assert ax.get_xticklabels()[0].get_text() == "BOS"
    assert len(ax.get_yticklabels()) == len(tokens)
    with pytest.raises(ValueError, match=r"no head 'm0'; the model has a0\.h0"):
        ib.plot.attention(model, tokens, "m0")
    plt.close("all")


def test_roc_and_effects(model: ib.BenchmarkModel) -> None:
    truth = model.circuit
    ax = ib.plot.roc({"oracle": truth.mask.astype(float), "flat": np.ones(truth.mask.shape)}, truth)
    assert [line.get_label() for line in ax.lines] == [
        "oracle (1.000)",
        "flat (0.500)",
        "chance",
    ]
    values = np.arange(len(model.graph.writers), dtype=float)
    ax = ib.plot.effects(values, truth)
    widths = [bar.get_bbox().width for bar in ax.patches if isinstance(bar, Rectangle)]
    assert sorted(widths) == values.tolist()
    with pytest.raises(ValueError, match="2 values for 11 writers"):
        ib.plot.effects(values[:2], truth)
    plt.close("all")
