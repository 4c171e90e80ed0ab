"""Plans run on case 3: what they write, failures, and interruptions."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interpbench_jax.benchmark import Store, execute, make_contrast, make_plan, run_methods
from interpbench_jax.benchmark.keys import key_of
from interpbench_jax.benchmark.plan import Run, bundled_models, compiled_models
from interpbench_jax.benchmark.results_store import SCORES
from interpbench_jax.discovery.losses import loss_to_target
from interpbench_jax.scoring import edge_roc, faithfulness_curve
from interpbench_jax.zoo import load_model

METHODS = '''
import jax, numpy as np
from interpbench_jax.model import Graph

def chance(params, config, batch, loss, *, key, scale=2.0):
    """Random scores."""
    return scale * jax.random.normal(key, Graph.of(config).valid.shape)

def nodes(params, config, batch, loss):
    """A score per node."""
    return np.arange(Graph.of(config).n_writers, dtype=float)

def broken(params, config, batch, loss):
    return 1 / 0

def nan(params, config, batch, loss):
    return np.full(Graph.of(config).valid.shape, np.nan)

def interrupted(params, config, batch, loss):
    raise KeyboardInterrupt
'''


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "methods_of_mine.py").write_text(METHODS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "methods_of_mine", raising=False)


METHODS_USED = ("eap", "edge_patching")


def plan(*methods: str, seeds: Sequence[int] = (0,)) -> list[Run]:
    names = [name if name in METHODS_USED else f"methods_of_mine:{name}" for name in methods]
    return make_plan(bundled_models(("3",)), names, ("resample",), seeds, (40,))


def rows_of(store: Store) -> dict[str, dict[str, Any]]:
    return {row["method"].split(":")[-1]: row for row in store.read().iter_rows(named=True)}


def test_a_result_records_everything_it_depends_on(tmp_path: Path, own: None) -> None:
    store = Store(tmp_path / "results")
    (run,) = plan("edge_patching")
    (written,) = execute([run], store, command="interpbench benchmark")
    assert store.status().keys() == {run.id} == {written["id"]}
    row = rows_of(store)["edge_patching"]
    assert row["status"] == "done"
    assert (row["model"], row["case"], row["kind"]) == ("3", "3", "attention")
    assert (row["n_edges"], row["n_true_edges"], row["selection"]) == (52, 3, "top_n")
    assert json.loads(row["versions"]).keys() >= {"python", "interpbench-jax", "jax", "numpy"}
    assert row["environment"] == run.environment
    assert row["device"].startswith("cpu")
    assert json.loads(row["knobs"]) == {"loss": "absolute_error"}
    for name in SCORES:
        assert isinstance(row[name], float), name
    assert 0 < row["seconds"] < 60

    model = load_model("3")
    scores = np.reshape(row["scores"], row["scores_shape"])
    assert row["edge_auroc"] == edge_roc(scores, model.circuit).auroc
    batch = make_contrast(model, key_of(0, "inputs", "3"), n_inputs=40)
    (finding,) = run_methods(model, ("edge_patching",), batch)
    np.testing.assert_allclose(scores, finding.scores, atol=1e-6)

    # Circuits are run on other inputs; with only 256 sequences, some of them were seen before.
    others = make_contrast(model, key_of(0, "scoring inputs", "3"), n_inputs=40)
    assert 0 < row["seen_inputs"] < 0.5
    loss = loss_to_target(False)
    expected = faithfulness_curve(model.params, model.config, others, loss, scores)
    np.testing.assert_allclose(row["faithfulness_curve"], expected.faithfulness, atol=1e-5)
    signed = faithfulness_curve(model.params, model.config, others, loss, scores, by="signed")
    assert (row["cpr"], row["cpr_signed"]) == pytest.approx((expected.cpr, signed.cpr), abs=1e-5)

    facts = store.read_model(row["model_id"])
    assert facts["title"] == model.card["title"]
    assert facts["circuit"] == json.loads(model.circuit.to_json())
    assert any("Aggregate" in line for line in facts["program"])


def test_an_empty_circuit_has_scores_or_none(tmp_path: Path, own: None) -> None:
    """The largest scores of information flow are all dead ends."""
    for method, found in (("information_flow_routes", 0.0), ("oracle", 3.0)):
        (run,) = make_plan(bundled_models(("3",)), [method], ("resample",), (0,), (40,), "top_n")
        (row,) = execute([run], Store(tmp_path / method))
        assert row["status"] == "done", row.get("error")
        assert row["selection"] == "top_n"
        assert row["found_edges"] == found
        assert (row["minimality"] is None) == (found == 0)
        assert row["faithfulness"] == pytest.approx(found / 3, abs=0.2)


def test_own_methods_and_failures(tmp_path: Path, own: None) -> None:
    store = Store(tmp_path / "results")
    runs = plan("broken", "chance", "nodes", "nan", seeds=(0, 1))
    assert len(list(execute(runs, store))) == 8
    table = store.read()
    assert {name for name, status in store.status().items() if status == "failed"} == {
        row.id for row in runs if row.method.split(":")[1] in ("broken", "nan")
    }
    rows = rows_of(store)
    assert rows["broken"]["error"] == "ZeroDivisionError: division by zero"
    assert rows["broken"]["selection"] == rows["chance"]["selection"] == "top_n"
    assert "return 1 / 0" in rows["broken"]["traceback"]
    assert rows["nan"]["error"].startswith("ValueError: methods_of_mine:nan gives NaN as a score")
    assert rows["nodes"]["scores_shape"] == [11]
    assert json.loads(rows["chance"]["knobs"]) == {"loss": "absolute_error", "scale": "2.0"}
    drawn = table.filter(table["method"] == "methods_of_mine:chance")["scores"].to_list()
    assert drawn[0] != drawn[1]  # another seed, other numbers


def test_an_interrupted_plan_resumes_to_the_same_table(tmp_path: Path, own: None) -> None:
    whole, parts = Store(tmp_path / "whole"), Store(tmp_path / "parts")
    runs = plan("eap", "chance", seeds=(0, 1))
    list(execute(runs, whole))
    (stop,) = plan("interrupted")
    with pytest.raises(KeyboardInterrupt):
        list(execute([*runs[:2], stop, *runs[2:]], parts))
    assert parts.status().keys() == {run.id for run in runs[:2]}
    list(execute([run for run in runs if run.id not in parts.status()], parts))
    lasting = ["id", "method", "seed", "status", "scores", *SCORES]
    assert whole.read(lasting).equals(parts.read(lasting))


def test_an_unknown_method_stops_before_any_run(tmp_path: Path, own: None) -> None:
    store = Store(tmp_path / "results")
    with pytest.raises(ValueError, match="'methods_of_mine' has no function 'guess'"):
        list(execute(plan("eap", "guess"), store))
    assert not store.status()


def test_a_file_that_cannot_be_imported_is_the_users_error(tmp_path: Path, own: None) -> None:
    (tmp_path / "half_written.py").write_text("def find(:")
    runs = make_plan(bundled_models(("3",)), ["half_written:find"], ("zero",), (0,), (40,))
    with pytest.raises(ValueError, match="cannot import 'half_written': SyntaxError"):
        list(execute(runs, Store(tmp_path / "results")))


@pytest.mark.slow
def test_the_compiled_model_of_a_case(tmp_path: Path, own: None) -> None:
    store = Store(tmp_path / "results")
    runs = make_plan(compiled_models(("3",)), ("eap",), ("zero",), (0,), (20,))
    (row,) = execute(runs, store)
    assert (row["status"], row["model"], row["ablation"]) == ("done", "3 (compiled)", "zero")
    assert row["n_true_edges"] == 3  # input->m0->a1.h2->logits; input->a1.h2 is unobservable


def test_the_folder_of_a_method_changes_neither_its_run_nor_its_numbers(tmp_path: Path) -> None:
    found = []
    for place in ("one", "other"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "mine.py").write_text(METHODS)
        method = f"{tmp_path / place}/mine.py:chance"
        runs = make_plan(bundled_models(("3",)), (method,), ("resample",), (0,), (40,))
        store = Store(tmp_path / place / "results")
        list(execute(runs, store))
        found += store.read().select("id", "scores", "cmd").rows()
    assert found[0] == found[1]
