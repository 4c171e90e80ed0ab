"""Bundled models under many interventions at once, and the output of the command line."""

import json
from pathlib import Path

import pytest

from interpbench_jax.benchmark import EvaluationSettings, evaluate_jointly
from interpbench_jax.cli import main
from interpbench_jax.evaluation import ABLATIONS, N_RANDOM, N_RUNS
from interpbench_jax.zoo import held_out_statement, load_model


# There are 256 subsets; at least 100 pairs are used.
@pytest.mark.parametrize(
    ("name", "n_runs", "n_pairs"),
    [("3", 256 * 150, 150), pytest.param("13", 1, 100, marks=pytest.mark.slow)],
)
def test_bundled_models_hardly_leak(name: str, n_runs: int, n_pairs: int) -> None:
    model = load_model(name)
    found = evaluate_jointly(model, n_pairs=300, n_interventions=16, n_runs=n_runs)
    assert found.n_pairs == n_pairs
    assert 0 <= found.metrics["leakage"] <= found.metrics["leakage_worst"] < 0.02
    assert found.metrics["leakage_worst"] <= found.metrics["leakage_worst_position"]
    assert found.metrics["abstraction_worst"] <= found.metrics["abstraction"] <= 1
    assert found.metrics["abstraction"] > 0.95
    assert found.circuit_accuracy["resample"] > 0.98
    aligned = {variable.node for variable in model.variables}
    assert not aligned & {*found.worst["leakage_nodes"], *found.worst["abstraction_nodes"]}
    assert len(found.leakage_per_position) == model.config.n_ctx
    assert len(found.leakage_of_position) == model.config.n_ctx
    assert found.metrics["leakage_one_position"] == max(found.leakage_of_position) < 0.02
    rows = found.effect_rows(model)
    assert {row["node"] for row in rows if row["in_circuit"]} == aligned
    forms = ["accuracy"] if name == "3" else ["accuracy", "kl", "kl_self"]
    for row in rows:
        assert list(row)[2:] == forms
        for form in forms:
            assert list(row[form]) == list(ABLATIONS)
            effect = row[form]["resample"]
            assert effect > 0.3 if row["in_circuit"] else abs(effect) < 0.02


# As above: compiled once.
ARGUMENTS = [
    *("evaluate", "3", "--n-pairs", "300", "--n-interventions", "16", "--n-runs", "38400"),
    *("--n-sets", "100", "--edge-runs", "20000"),
]


def test_evaluate_prints_json_and_draws(tmp_path: Path, capsys) -> None:
    main([*ARGUMENTS, "--json", "--out", str(tmp_path)])
    (found,) = json.loads(capsys.readouterr().out)
    for name in ("accuracy", "iia", "siia", "leakage", "abstraction"):
        assert 0 <= found["metrics"][name] <= 1
    assert found["joint_pairs"] == 150
    statement = held_out_statement(load_model("3"))
    assert (found["pairs"], found["held_out"]) == (statement, not statement.startswith("NOT"))
    assert set(found["circuit_accuracy"]) == set(ABLATIONS)
    assert set(found["node_effects"][0]["accuracy"]) == set(ABLATIONS)
    assert len(found["leakage_per_position"]) == len(found["leakage_of_position"]) == 5
    assert found["edges"]["qkv"]["inert"] > 0.99 and found["edges"]["n_pairs"] == 300
    assert set(found["worst"]) == {"leakage_nodes", "abstraction_variables", "abstraction_nodes"}
    assert (tmp_path / "3" / "node_effects.png").read_bytes().startswith(b"\x89PNG")
    assert [file.name for file in (tmp_path / "3").iterdir()] == ["node_effects.png"]


@pytest.mark.slow
def test_evaluate_prints_tables(capsys) -> None:
    main(ARGUMENTS)
    printed = capsys.readouterr().out
    assert f"model 3: {held_out_statement(load_model('3'))}" in printed
    for heading in ("accuracy", "SIIA", "necessity", "leakage", "abstraction", "zero", "a1.h2"):
        assert heading in printed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--n-interventions", "0"], "n_interventions must be at least 1, got 0"),
        (["--n-runs", "-3"], "n_runs must be at least 1, got -3"),
        (["--out", __file__], f"cannot write to {__file__}: "),
    ],
)
def test_bad_options_are_one_line_and_exit_code_2(options, message: str, capsys) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(["evaluate", "3", *options])
    assert exit_info.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


def test_a_certificate_of_a_model_takes_as_many_sets_and_runs_as_any_other() -> None:
    assert (EvaluationSettings.n_sets, EvaluationSettings.edge_runs) == (N_RANDOM, N_RUNS)
