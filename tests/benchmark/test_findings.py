"""Findings of methods on the bundled models: verification, scores, files."""

import functools
import itertools
import json
from pathlib import Path
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from interpbench_jax.benchmark import (
    make_contrast,
    run_methods,
    validate_model,
    write_findings,
)
from interpbench_jax.benchmark.draw import edge_kinds
from interpbench_jax.benchmark.keys import Drawn, key_of
from interpbench_jax.discovery import METHODS, Loss
from interpbench_jax.discovery.losses import squared_error
from interpbench_jax.model import NodePatch, forward
from interpbench_jax.scoring import found_circuit
from interpbench_jax.zoo import load_model
from interpbench_jax.zoo.formats import read_discovered
from tests.golden_files import arrays_of

# Their scores do not depend on patched runs.
RUN_NOTHING_PATCHED = {
    "information_flow_routes",
    "random",
    "weight_magnitude",
    "activation_magnitude",
    "structural_prior",
    "oracle",
}


@pytest.mark.parametrize("name", ["3", "13"])
def test_bundled_models_are_as_good_as_their_cards_say(name: str) -> None:
    model = load_model(name)
    found = validate_model(model, n_pairs=2_000)
    for key, value in found.items():
        assert value == pytest.approx(model.card["metrics"][key], abs=0.01), key
    assert model.card["reached_threshold"]


def test_methods_find_the_circuit_of_case_3(tmp_path: Path) -> None:
    model = load_model("3")
    batch = make_contrast(model, jax.random.key(0), n_inputs=100)
    findings = run_methods(model, ("edge_patching", "acdc"), batch)
    assert [f.method for f in findings] == ["edge_patching", "acdc"]
    for finding in findings:
        assert finding.edge_auroc > 0.9
    write_findings(model, findings, tmp_path / "new" / "3", {"seed": 0})
    written = {f.name for f in (tmp_path / "new" / "3").iterdir()}
    assert written == {"scores.npz", "findings.json", "circuits", "circuits.png"}
    scores = arrays_of(tmp_path / "new" / "3" / "scores.npz")
    np.testing.assert_array_equal(scores["edge_patching"], findings[0].scores)
    figures = json.loads((tmp_path / "new" / "3" / "findings.json").read_text())
    assert figures[1]["edge_auroc"] == findings[1].edge_auroc and figures[1]["seed"] == 0
    assert [row["loss"] for row in figures] == ["absolute_error", "squared_error_to_clean"]
    for row, finding in zip(figures, findings, strict=True):
        assert row["selection"] == finding.selection == "top_n"
        found = found_circuit(finding.scores, model.circuit)
        file = tmp_path / "new" / "3" / "circuits" / f"{finding.method}.txt"
        back = read_discovered(file, model)[""].circuit
        assert back is not None and back.edges == found.edges
        for kind, edges in edge_kinds(model.circuit, found).items():
            assert set(row[f"{kind}_edges"]) == {"->".join(edge) for edge in edges}
            if kind != "unobservable" and not finding.tied_edges:
                assert row[f"n_{kind}"] == len(row[f"{kind}_edges"]) == len(edges)
        assert row["precision"] == row["n_true"] / (row["n_true"] + row["n_false"])
        assert row["recall"] == row["n_true"] / (row["n_true"] + row["n_missed"])
    assert scores["readers"].tolist() == list(model.graph.readers)
    assert (tmp_path / "new" / "3" / "circuits.png").read_bytes().startswith(b"\x89PNG")


def test_the_oracle_finds_every_edge() -> None:
    """Edges come in graph order, with q, k and v merged."""
    model = load_model("3")
    batch = make_contrast(model, jax.random.key(0), n_inputs=4)
    (finding,) = run_methods(model, ("oracle",), batch)
    edges = ("input->m0", "m0->a1.h2", "a1.h2->logits")
    assert finding.true_edges == edges
    assert finding.unobservable_edges == ("input->a1.h2",)  # its q and k only carry positions
    assert finding.missed_edges == finding.false_edges == ()
    assert finding.precision == finding.recall == 1


def test_each_method_s_selection_is_used_and_recorded() -> None:
    """The largest scores of information flow miss this model's circuit; the search finds it."""
    model = load_model("siit/13")
    batch = make_contrast(model, jax.random.key(0), n_inputs=100)
    methods = ("information_flow_routes", "weight_magnitude")
    flow, weights = run_methods(model, methods, batch)
    assert (flow.selection, weights.selection) == ("greedy", "top_n")
    assert flow.edge_auroc == flow.node_auroc == flow.precision == flow.recall == 1
    best, _ = run_methods(model, methods, batch, selection="top_n")
    assert best.selection == "top_n"
    assert best.edge_auroc < 0.9 and best.recall == 0
    assert best.true_edges == best.false_edges == ()  # four heads, all dead ends
    with pytest.raises(ValueError, match="unknown selection 'best'; known: usual, top_n, greedy"):
        run_methods(model, methods, batch, selection="best")


def test_random_keys_depend_only_on_seed_model_and_method() -> None:
    def drawn(seed: int, model: str, method: str, beside: tuple[str, ...] = ()) -> np.ndarray:
        loaded = load_model(model)
        batch = make_contrast(loaded, jax.random.key(0), n_inputs=4)
        return run_methods(loaded, (*beside, method), batch, seed=seed)[-1].scores

    first = drawn(0, "3", "random")
    np.testing.assert_array_equal(drawn(0, "3", "random", ("oracle",)), first)
    assert (drawn(1, "3", "random") != first).any()
    assert (drawn(0, "13", "random") != first).any()  # a model with the same graph


def test_no_key_is_used_twice() -> None:
    keys = {
        jax.random.key_data(key_of(seed, drawn, case, method)).tobytes()
        for seed, case, method in itertools.product((0, 1), ("3", "13"), ("", "random", "eap"))
        for drawn in get_args(Drawn)
    }
    assert len(keys) == 2 * 2 * 3 * 4


def test_all_methods_are_looked_up_before_the_first_runs() -> None:
    model = load_model("3")
    batch = make_contrast(model, jax.random.key(0), n_inputs=4)
    with pytest.raises(ValueError, match="unknown method 'guess'; known: eap"):
        run_methods(model, ("eap", "guess"), batch)


def test_functions_are_methods_too(no_shape_checks: None) -> None:
    """The package's methods keep their own loss; others get a key made from the seed."""
    model = load_model("3")
    batch = make_contrast(model, 0, n_inputs=4)
    np.testing.assert_array_equal(
        batch.clean, make_contrast(model, jax.random.key(0), n_inputs=4).clean
    )

    def mine(params, config, batch, loss):
        return np.arange(model.graph.n_writers, dtype=float)

    def acdc(params, config, batch, loss):
        return mine(params, config, batch, loss)

    found = run_methods(model, (mine, METHODS["random"], acdc), batch)
    assert [f.method for f in found] == ["mine", "random", "acdc"]
    assert found[2].loss == "absolute_error"  # not that of the package's ACDC
    bad: Any
    for bad, message in (
        ("eap", r"methods must be a sequence, such as \('eap',\), got 'eap'"),
        ((mine, mine), "two methods are named 'mine'"),
        ((3,), "a method must be a function or a name, got 3"),
    ):
        with pytest.raises(ValueError, match=message):
            run_methods(model, bad, batch)
    for bad in (-1, 2**32, 0.5, None):
        with pytest.raises(ValueError, match="a seed must be at least 0"):
            make_contrast(model, bad, n_inputs=4)


def test_findings_are_strict_json(tmp_path: Path) -> None:
    """An empty circuit has no precision; NaN is not JSON."""
    model = load_model("3")
    batch = make_contrast(model, 0, n_inputs=4)
    (finding,) = run_methods(model, ("oracle",), batch)
    none = finding._replace(
        true_edges=(), missed_edges=finding.true_edges, n_true=0.0, n_missed=finding.n_true
    )
    write_findings(model, [none], tmp_path, {})

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    text = (tmp_path / "findings.json").read_text()
    (row,) = json.loads(text, parse_constant=refuse)
    assert row["precision"] is None
    assert row["recall"] == 0


@pytest.mark.parametrize(
    "method",
    [
        pytest.param(name, marks=() if name in ("eap", "acdc") else pytest.mark.slow)
        for name in METHODS
        if name not in RUN_NOTHING_PATCHED
    ],
)
def test_nan_scores_are_refused(method: str) -> None:
    """The model is finite until it is patched."""
    model = load_model("3")
    batch = make_contrast(model, jax.random.key(0), n_inputs=4)
    assert batch.source is not None
    batch = batch._replace(source=batch.source * np.nan)
    with pytest.raises(ValueError, match=f"{method} gives NaN as a score"):
        run_methods(model, (method,), batch)


@pytest.mark.slow
def test_optimal_constants_minimise_the_loss_that_is_given() -> None:
    """Constants learnt for shifted answers fit those better, and the right answers worse."""
    model = load_model("3")

    def loss_of(minimised: Loss | None, judged: Loss) -> float:
        batch = make_contrast(
            model, jax.random.key(0), n_inputs=32, ablation="optimal", loss=minimised
        )
        node = np.zeros(model.graph.n_writers, np.float32)
        node[model.graph.writer_index("m0")] = 1
        assert batch.source is not None
        patch = NodePatch(jnp.asarray(node), batch.source)
        return float(judged(forward(model.params, model.config, batch.clean, patch)[0], batch))

    def off(logits, batch):
        return squared_error(logits, batch._replace(target=batch.target + 1.0))

    assert loss_of(off, off) < loss_of(None, off) - 0.1
    assert loss_of(None, squared_error) < loss_of(off, squared_error) - 0.1


def test_a_method_with_other_knobs_keeps_its_loss_and_selection() -> None:
    model = load_model("8")
    batch = make_contrast(model, 0, n_inputs=4)
    whole, partly = METHODS["eap_ig_inputs"], functools.partial(METHODS["eap_ig_inputs"], steps=2)
    ours, other = (run_methods(model, (method,), batch)[0] for method in (whole, partly))
    assert (ours.method, ours.loss, ours.selection) == (other.method, other.loss, other.selection)
    assert ours.selection == "greedy"
