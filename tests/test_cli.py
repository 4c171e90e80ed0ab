"""The command line, in this process: output and exit status."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from interpbench_jax.benchmark.draw_effects import draw_effects
from interpbench_jax.benchmark.evaluate import evaluate_jointly
from interpbench_jax.cli import COMMANDS, main
from interpbench_jax.cli.models import load_models
from interpbench_jax.zoo import load_model
from interpbench_jax.zoo.store import BUNDLED
from tests.test_cli_train import TINY


def test_cases_lists_all(capsys: pytest.CaptureFixture[str]) -> None:
    main(["cases", "--json"])
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) >= 129
    assert rows[2]["case"] == "3"
    main(["cases"])
    assert {"ioi", "ioi_next_token"} <= {row["case"] for row in rows}
    assert f"{len(rows)} tasks" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("filters", "number"), [(["--paper"], 16), (["--published"], 84), (["--max-params", "900"], 7)]
)
def test_cases_can_be_filtered(
    filters: list[str], number: int, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["cases", "--json", *filters])
    assert len(json.loads(capsys.readouterr().out)) == number


def test_a_case_is_shown_with_program_and_circuit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["cases", "show", "3", "--out", str(tmp_path)])
    shown = capsys.readouterr().out
    for line in (
        "is_x = Map(tokens): a -> False, b -> False, c -> False, x -> True",
        "frac_prevs = Aggregate(select, is_x, default 0)",
        "a1.h2: frac_prevs",
        "m0->a1.h2<v>",
        "input->a1.h2<q> (unobservable)",
    ):
        assert f"  {line}\n" in shown
    assert (tmp_path / "3.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / "3.svg").read_text()


@pytest.mark.xdist_group("train case 3")
def test_train_writes_a_model_and_reports_missed_scores(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["train", "3", "--out", str(tmp_path), *TINY])
    assert "did NOT reach the threshold 0.999 after 4 batches" in capsys.readouterr().out
    card = load_model(tmp_path / "3").card
    assert not card["reached_threshold"]
    assert card["config"]["batch_size"] == 8
    assert card["metrics"]["accuracy"] < 0.995
    assert card["config"]["patches"] == "edges"


@pytest.mark.slow
def test_evaluate_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    main(["evaluate", "3", "--n-pairs", "500", "--edge-runs", "20000", "--json"])
    (found,) = json.loads(capsys.readouterr().out)
    assert found["metrics"]["iia"] > 0.99
    assert len(found["node_effects"]) == 10


@pytest.mark.slow
def test_evaluate_reports_if_no_effect_can_be_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Base and source of the only pair have the same targets."""
    few = ["--n-pairs", "1", "--seed", "2", "--n-runs", "100", "--n-interventions", "4"]
    few += ["--n-sets", "10", "--edge-runs", "100"]
    main(["evaluate", "3", *few, "--out", str(tmp_path)])
    printed = " ".join(capsys.readouterr().out.split())
    assert "No effect of a node of model 3 can be measured: no target differs" in printed
    assert "Ablating" not in printed
    assert not list((tmp_path / "3").iterdir())
    joint = evaluate_jointly(load_model("3"), n_pairs=1, seed=2, n_runs=100, n_interventions=4)
    assert not joint.has_effects
    with pytest.raises(ValueError, match="no effects to draw"):
        draw_effects(load_model("3"), joint, tmp_path / "effects.png")


def test_discover_prints_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["discover", "3", "--methods", "acdc", "--n-inputs", "50", "--out", str(tmp_path)])
    printed = capsys.readouterr().out
    for part in ("acdc", "missed", "precision", "3, acdc: true input->m0, "):
        assert part in printed
    assert (tmp_path / "3" / "circuits.png").exists()


def test_an_own_method_from_a_file_and_one_that_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The failure is one line, does not stop other methods, and sets the exit status."""
    file = tmp_path / "mine.py"
    file.write_text(
        "import numpy as np\n"
        "def find(params, config, batch, loss):\n"
        "    return np.asarray(batch.source).mean((0, 1, 3))\n"
        "def broken(*_):\n"
        "    return 1 / 0\n"
    )
    methods = [f"{file}:broken", f"{file}:find"]
    few = ["--n-inputs", "4", "--out", str(tmp_path)]
    with pytest.raises(SystemExit) as exit_info:
        main(["discover", "3", "--methods", *methods, *few])
    assert exit_info.value.code == 1
    printed = capsys.readouterr().out
    line = "failed: 3, mine.py:broken: ZeroDivisionError: division by zero (mine.py, line 5)"
    assert line in printed
    assert "3, mine.py:find: " in printed
    figures = json.loads((tmp_path / "3" / "findings.json").read_text())
    assert [row["method"] for row in figures] == ["mine.py:find"]


def test_discover_checks_everything_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A loss that fits only the first model is refused before the first search."""
    with pytest.raises(SystemExit):
        main(["discover", "3", "13", "--loss", "mae", "--out", str(tmp_path / "new")])
    assert "unknown loss 'mae' for labels" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_models_are_identified_by_name(tmp_path: Path) -> None:
    """Not by case, or two models of one case would be written to the same place."""
    shutil.copytree(BUNDLED / "13", tmp_path / "mine")
    found = load_models(["3", "iit/3", str(tmp_path / "mine")])
    assert list(found) == ["3", "iit/3", "mine"]
    assert [model.case for model in found.values()] == ["3", "3", "13"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "16"], "unknown case '16'"),
        (["cases", "--max-params", "-5"], "max_params must be at least 1, got -5"),
        (["cases", "show", "my/case"], "unknown case 'my/case'"),
        (["cases", "show", "3", "--out", __file__], f"cannot write to {__file__}: "),
        (["cases", "describe", "3"], "expected nothing or 'show CASE...', got 'describe 3'"),
        (["train"], "at least one"),
        (["train", "3", "--strict-weight", "-1"], "strict_weight must not be negative, got -1"),
        (["evaluate", "nowhere"], "no model 'nowhere'"),
        (["discover", "3", "--loss", "kl", "--n-inputs", "4"], "unknown loss 'kl' for values"),
        (["evaluate", "3", "elsewhere/3"], "3 and elsewhere/3 would both be named '3'"),
        (["discover", "3", "--methods", "guess"], "unknown method 'guess'"),
        (["discover", "3", "--n-inputs", "0"], "n_inputs must be at least 1, got 0"),
        (["discover", "3", "--seed", "-1"], "a seed must be at least 0 and below 2**32, got -1"),
        (["discover", "3", "--methods", "eap", "eap"], "two methods are named 'eap'"),
        (["discover", "3", "--methods", "nowhere.py:f"], "there is no file 'nowhere.py'"),
        (["discover", "3", "--ablation", "median"], "unknown ablation 'median'; known: resample"),
        (["discover", "3", "--out", __file__], f"cannot write to {__file__}: "),
        (["evaluate", "3", "--seed", "-1"], "a seed must be at least 0 and below 2**32, got -1"),
        (["evaluate", "3", "--n-pairs", "0"], "n_pairs must be at least 1, got 0"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(arguments)
    assert exit_info.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main([command, "--help"])
    assert exit_info.value.code == 0
    assert "--out" in (out := capsys.readouterr().out) or "--json" in out


@pytest.mark.parametrize("arguments", [["train", "--help"], ["cases", "--json"]])
def test_a_closed_pipe_ends_silently(arguments: list[str]) -> None:
    """As in `interpbench cases --json | head -1`."""
    reader, writer = os.pipe()
    os.close(reader)
    call = f"from interpbench_jax.cli import main; main({arguments})"
    ended = subprocess.run([sys.executable, "-c", call], stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert ended.stderr == b""
    assert ended.returncode == 128 + signal.SIGPIPE


def test_cases_fit_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    from interpbench_jax.cli import cases

    narrow = Console(width=80, record=True, file=io.StringIO())
    monkeypatch.setattr("interpbench_jax.cli.output.console", narrow)
    cases.cases()
    lines = narrow.export_text().splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) < 300  # two lines a task, hardly ever three
