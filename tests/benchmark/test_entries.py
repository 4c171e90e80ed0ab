"""Findings of other tools, scored and shown like our own results."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interpbench_jax.benchmark import Store, execute, make_plan
from interpbench_jax.benchmark.entries import Entry, enter
from interpbench_jax.benchmark.handed_in import entries_of, find_files, without_scores
from interpbench_jax.benchmark.mib_submission import write_submissions
from interpbench_jax.benchmark.plan import bundled_models, named_model
from interpbench_jax.benchmark.report.results import Results
from interpbench_jax.benchmark.report.tables import leaderboard
from interpbench_jax.benchmark.report.write import write_results
from interpbench_jax.benchmark.results_store import SCORES
from interpbench_jax.cli import main
from interpbench_jax.model import Circuit
from interpbench_jax.zoo import load_model
from interpbench_jax.zoo.formats import (
    Discovered,
    read_eap_ig,
    to_eap_ig,
    to_named_scores,
    write_edge_lines,
    write_score_arrays,
    write_table,
)

N = 40
DRAWN = ("incompleteness", "incompleteness_worst", "minimality", "superfluous")
"""Metrics that patch randomly drawn sets of edges; the draw depends on the method's name."""


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A store with a result of EAP on case 3, its row, and its scores."""
    store = Store(tmp_path_factory.mktemp("results"))
    (row,) = execute(make_plan(bundled_models(("3",)), ("eap",), ("resample",), (0,), (N,)), store)
    assert row["status"] == "done", row
    return store, row, np.reshape(row["scores"], row["scores_shape"])


def export(tool: str, out: Path, *models: str) -> Path:
    main(["export", *(models or ("3",)), "--for", tool, "--n-inputs", str(N), "--out", str(out)])
    return out


def hand_in(export: Path, name: str, content: str, folder: str = "scores") -> Path:
    file = export / "3" / folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)
    return file


def test_every_format_gives_the_scores_of_our_own_run(
    tmp_path: Path, ours: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    store, row, scores = ours
    graph = load_model("3").graph
    out = export("eap-ig", tmp_path / "export")
    found = Discovered(graph=graph, scores=scores)
    hand_in(out, "graph.json", to_eap_ig(found, d_model=load_model("3").config.d_model))
    hand_in(out, "named.json", to_named_scores(scores, graph))
    hand_in(out, "table.csv", write_table(scores, graph, naming="transformer-lens"))
    write_score_arrays(out / "3" / "scores" / "scores.npz", {"eap": scores}, graph)
    capsys.readouterr()
    main(["score", str(out), "--out", str(store.directory), "--json"])
    entered = json.loads(capsys.readouterr().out)
    names = {entry["method"] for entry in entered}
    assert names == {f"{name} (eap-ig)" for name in ("graph", "named", "table", "eap")}
    rows = {r["method"]: r for r in store.read().iter_rows(named=True)}
    own = rows.pop("eap")
    assert len(rows) == 4
    for name, theirs in rows.items():
        for score in (*SCORES, "scores", "seen_inputs", "node_importance", "faithfulness_curve"):
            if score not in DRAWN:
                assert theirs[score] == own[score], (name, score)
        for column in ("model", "model_id", "kind", "n_edges", "n_true_edges", "seed", "n_inputs"):
            assert theirs[column] == own[column], (name, column)
        assert theirs["seconds"] is None and theirs["status"] == "done"

    results = Results(store)
    assert not results.unreadable
    board = {line["entrant"]: line for line in leaderboard(results)}
    assert board.keys() == {"eap", *names}
    assert len({line["edge_auroc"] for line in board.values()}) == 1
    page = write_results(results, tmp_path / "report").read_text()
    assert "graph (eap-ig)" in page


def test_a_circuit_is_scored_as_a_set(tmp_path: Path, ours: Any) -> None:
    """By hand: 3 of the 52 counted edges are true (`input->a1.h2` carries only positions)."""
    store, row, _ = ours
    out = export("transformer-lens", tmp_path / "export")
    hand_in(out, "mine.txt", "input->m0\nm0->a1.h2\nm0->m1\nm0->logits\ninput->a1.h2\n")
    hand_in(out, "all.txt", write_edge_lines(load_model("3").circuit), folder="circuits")
    entries = entries_of(find_files([out]))
    rows = {row["method"]: row for row in enter(entries, store)}
    mine, every = rows["mine (transformer-lens)"], rows["all (transformer-lens)"]
    assert (mine["found_edges"], mine["found_precision"]) == (4, 0.5)
    assert mine["found_recall"] == pytest.approx(2 / 3)
    assert mine["found_f1"] == pytest.approx(4 / 7)
    assert mine["found_accuracy"] == pytest.approx(49 / 52)
    assert [every[f"found_{name}"] for name in ("precision", "recall", "f1", "accuracy")] == [
        1.0
    ] * 4
    assert every["faithfulness"] == pytest.approx(1, abs=0.05) and mine["faithfulness"] < 0.5
    assert mine["selection"] == "given" and "edge_auroc" not in mine
    read = Store(store.directory).read().filter(id=mine["id"]).row(0, named=True)
    assert read["edge_auroc"] is None and read["found_f1"] == mine["found_f1"]

    results = Results(store)
    assert not results.unreadable
    board = {line["entrant"]: line for line in leaderboard(results)}
    line = board["mine (transformer-lens)"]
    assert line["rank"] is None and line["found_f1"] == mine["found_f1"] and line["cases"] == 1
    page = write_results(results, tmp_path / "report").read_text()
    assert "mine (transformer-lens)" in page and "2 true, 1 missed, 2 false" in page


def test_mib(tmp_path: Path, ours: Any, capsys: pytest.CaptureFixture[str]) -> None:
    store, row, scores = ours
    only = Store(tmp_path / "results")
    only.write_model(row["model_id"], store.read_model(row["model_id"]))
    only.write({**row, "method": "my_eap"})
    (submission,) = write_submissions(only, tmp_path / "mib")
    assert submission.directory == tmp_path / "mib" / "my-eap_patching_edge"
    assert submission.names == ["3_interpbench-3"]
    assert "at least 2 tasks, got 1: 3" in submission.shortcomings[0]
    text = (submission.directory / "3_interpbench-3" / "importances.json").read_text()
    model = load_model("3")
    back = read_eap_ig(text, model.graph, d_model=model.config.d_model)
    assert back.scores is not None and back.scores.tobytes() == scores.tobytes()
    capsys.readouterr()
    main(["export", "--for", "mib", "--results", str(tmp_path / "results"), "--out", str(tmp_path)])
    message = capsys.readouterr().out
    assert "cannot be submitted yet: MIB requires at least 2 models, got 1" in message

    (entry,) = entries_of(find_files([tmp_path / "my-eap_patching_edge"], "3"))
    assert entry.method == "my-eap_patching_edge"


def entry(**change: Any) -> Entry:
    model = load_model("3")
    fields: dict[str, Any] = {
        "model": named_model("3"),
        "method": "mine",
        "discovered": Discovered(graph=model.graph, scores=model.circuit.mask.astype(float)),
        "file": Path("a.csv"),
    }
    return Entry(**(fields | change))


def test_runs_are_identified_by_what_was_found() -> None:
    graph = load_model("3").graph
    circuit = Discovered(graph=graph, circuit=Circuit(graph, frozenset({("input", "m0")})))
    ids = {entry().run.id, entry(discovered=circuit).run.id, entry(seed=1).run.id}
    assert len(ids) == 3 and entry().run.id == entry(file=Path("b.json")).run.id
    for name in ("", "eap"):
        with pytest.raises(ValueError, match=f"cannot be named '{name}'"):
            entry(method=name)


def refused(arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    message = capsys.readouterr().err
    assert ended.value.code == 2 and message.count("\n") == 1, message
    return message


def test_findings_that_cannot_be_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph, store = load_model("3").graph, ["--out", str(tmp_path / "results")]
    ones = np.where(graph.valid, 1.0, 0.0)
    (tmp_path / "mine.csv").write_text(write_table(ones, graph))
    mine = str(tmp_path / "mine.csv")
    assert "give its model with --model" in refused(["score", mine, *store], capsys)
    assert "there is no" in refused(["score", str(tmp_path / "none"), *store], capsys)
    message = refused(["score", mine, "--model", "21", *store], capsys)
    assert "mine.csv: " in message and "have no score, such as" in message
    message = refused(["score", mine, "--model", "3", "--method", "eap", *store], capsys)
    assert "cannot be named 'eap'" in message
    assert "no model 'x'" in refused(["score", mine, "--model", "x", *store], capsys)
    assert "unknown selection" in refused(["score", mine, "--selection", "x", *store], capsys)

    out = export("mib", tmp_path / "export")
    message = refused(["score", str(out), *store], capsys)
    assert f"no scores in {out / '3'}; first run the script run.py there" in message
    (tmp_path / "empty").mkdir()
    message = refused(["score", str(tmp_path / "empty"), *store], capsys)
    assert "expected files .json" in message
    hand_in(out, "a.csv", write_table(ones, graph))
    hand_in(out, "a.json", to_named_scores(2 * ones, graph))
    assert "give one of them another name" in refused(["score", str(out), *store], capsys)
    manifest = out / "3" / "export.json"
    facts = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(facts | {"model_id": "other"}))
    message = refused(["score", str(out), *store], capsys)
    assert "model 3 has changed since it was exported" in message
    assert not (tmp_path / "results").exists()


def test_models_that_cannot_be_exported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--out", str(tmp_path / "out")]
    assert "unknown tool 'x'" in refused(["export", "3", "--for", "x", *out], capsys)
    assert "n_inputs must be" in refused(["export", "3", "--n-inputs", "0", *out], capsys)
    message = refused(["export", "3", "--for", "eap-ig", "--results", str(tmp_path), *out], capsys)
    assert "got --for eap-ig and models 3" in message
    message = refused(["export", "--for", "mib", "--results", str(tmp_path), *out], capsys)
    assert "no results in" in message
    assert not (tmp_path / "out").exists()


def test_models_in_directories_and_several_at_once(tmp_path: Path) -> None:
    from interpbench_jax.zoo import save_model

    save_model(load_model("3"), tmp_path / "own")
    out = export("transformer-lens", tmp_path / "export", "3", str(tmp_path / "own"))
    assert {f.name for f in out.iterdir()} == {"3", "own"}
    graph = load_model("3").graph
    (out / "own" / "scores").mkdir()
    table = write_table(np.where(graph.valid, 1.0, 0.0), graph)
    (out / "own" / "scores" / "flat.csv").write_text(table)
    (handed,) = find_files([out])
    assert handed.model.case == "3" and handed.model.directory == str(tmp_path / "own")
    assert without_scores([out]) == [out / "3"]
    assert not without_scores([out / "own"])
