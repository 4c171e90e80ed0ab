"""Parity with auto-circuit on two tiny networks, in files of `benchmarks/discovery_golden.py`."""

import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from interpbench_jax.discovery import METHODS, acdc_circuits, contrast_batch
from interpbench_jax.discovery.losses import loss_to_clean, loss_to_target, squared_error
from interpbench_jax.model import Graph
from interpbench_jax.zoo import from_transformer_lens
from tests.golden_files import GOLDEN, arrays_of

STEPS = 5


@pytest.fixture(scope="module", params=["random", "one_way"])
def golden(request: pytest.FixtureRequest) -> Any:
    """Network, inputs, and auto-circuit's scores of every edge for each method."""
    place = GOLDEN / "auto_circuit"
    arrays = arrays_of(place / f"{request.param}.npz")
    prefix = "model.weights."
    state = {name.removeprefix(prefix): w for name, w in arrays.items() if name.startswith(prefix)}
    shape = json.loads(str(arrays["model.config"]))
    params, config = from_transformer_lens(
        state, causal=shape["causal"], normalization=None, activation=shape["activation"]
    )
    inputs = [jnp.asarray(arrays[name]) for name in ("clean", "corrupted", "target", "positions")]
    batch = jax.jit(contrast_batch, static_argnums=1)(params, config, *inputs)
    return params, config, batch, json.loads((place / f"{request.param}.json").read_text())


def matrix(graph: Graph, by_edge: dict[str, float]) -> np.ndarray:
    scores = np.zeros(graph.valid.shape)
    for name, score in by_edge.items():
        scores[edge(graph, name)] = score
    assert len(by_edge) == len(graph.edges)
    return scores


def edge(graph: Graph, name: str) -> tuple[int, int]:
    writer, reader = name.split("->")
    return graph.writer_index(writer), graph.reader_index(reader)


@pytest.mark.parametrize(
    ("method", "knobs", "times"),
    [
        ("eap", {}, 1),
        ("eap_ig_masks", {"steps": STEPS}, STEPS + 1),  # auto-circuit's is a sum, ours a mean
        ("edge_patching", {}, 1),
    ],
)
def test_scores(golden, method: str, knobs: dict[str, int], times: int) -> None:
    params, config, batch, theirs = golden
    categorical = config.d_vocab_out > 1
    loss = loss_to_target(True) if categorical else squared_error
    ours = times * METHODS[method](params, config, batch, loss, **knobs)
    expected = matrix(Graph.of(config), theirs[method])
    assert np.abs(expected).max() > 0.5
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_acdc_in_the_same_order(golden) -> None:
    """The smallest of 20 thresholds at which an edge is removed."""
    params, config, batch, theirs = golden
    graph = Graph.of(config)
    order = np.array([edge(graph, name) for name in theirs["order"]])
    thresholds = jnp.sort(jnp.outer(jnp.array([1, 3, 5, 7, 9]), 10.0 ** jnp.arange(-5, -1)).ravel())
    loss = loss_to_clean(config.d_vocab_out > 1)
    kept = acdc_circuits(params, config, batch, loss, thresholds, order).kept
    ours = jnp.where(kept, jnp.inf, thresholds[:, None, None]).min(0)
    expected = matrix(graph, theirs["acdc"])
    assert len(set(expected[graph.valid])) > 1
    np.testing.assert_allclose(np.where(graph.valid, ours, 0), expected, rtol=1e-5)


def test_the_one_way_network_by_hand() -> None:
    """The output is the MLP's copy, so patching either of the two edges is patching both."""
    arrays = arrays_of(GOLDEN / "auto_circuit" / "one_way.npz")
    theirs = json.loads((GOLDEN / "auto_circuit" / "one_way.json").read_text())
    here = slice(1, None)  # position 0 is not counted
    clean, corrupted, target = (arrays[x][:, here] for x in ("clean", "corrupted", "target"))
    rise = ((corrupted - target) ** 2).mean() - ((clean - target) ** 2).mean()
    slope = (2 * (clean - target) * (corrupted - clean)).mean()
    for name, score in theirs["edge_patching"].items():
        matters = name in ("input->m0", "m0->logits")
        assert score == pytest.approx(rise if matters else 0, abs=1e-6)
    assert theirs["eap"]["m0->logits"] == pytest.approx(slope, abs=1e-6)
