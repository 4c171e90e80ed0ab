"""`interpbench train`: where settings come from, and what a run leaves behind."""

import dataclasses
import json
import re
import sys
import types
from pathlib import Path

import pytest

from interpbench_jax.cli import main
from interpbench_jax.cli.dashboards import dashboard
from interpbench_jax.cli.settings import Overrides, population
from interpbench_jax.cli.training_run import TrainingRun
from interpbench_jax.siit import SiitConfig
from interpbench_jax.zoo.checkpoints import Checkpoints
from interpbench_jax.zoo.metrics_file import read_metrics
from interpbench_jax.zoo.progress import Progress

TINY = (
    *("--max-batches", "4", "--round-batches", "2", "--batch-size", "8"),
    *("--n-pairs", "2000", "--validation-pairs", "16"),
)


def test_every_setting_is_an_option() -> None:
    options = {field.name for field in dataclasses.fields(Overrides)}
    assert options == {field.name for field in dataclasses.fields(SiitConfig)}


def test_options_outdo_the_file_and_the_file_the_preset(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("batch_size = 64\nlearning_rate = 0.002\nround_batches = 7\n")
    given = Overrides(round_batches=9, behaviour_weight=(0.5, 1.0))
    found = population("4", "siit-2024", file, given, (3, 4))
    assert len(found) == 4
    config = found[0].config
    assert (config.steps, config.strict_weight) == ("separate", 0.4)  # preset
    assert (config.batch_size, config.learning_rate) == (64, 0.002)  # file
    assert config.round_batches == 9
    assert {member.config.behaviour_weight for member in found} == {0.5, 1.0}
    assert {member.seed for member in found} == {3, 4}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("batchsize = 3", "unknown settings .'batchsize'.; known: batch_size, "),
        ("batch_size = [1, 2", "is no TOML file that can be read"),
        ("batch_size = 'many'", "batch_size must be a whole number, got 'many'"),
        ("steps = 'twice'", "steps must be one of"),
    ],
)
def test_bad_files_are_named(
    tmp_path: Path, text: str, message: str, capsys, no_shape_checks
) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(text)
    with pytest.raises(SystemExit):
        main(["train", "3", "--settings", str(file), "--out", str(tmp_path)])
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert re.search(message, error), error


def test_a_run_leaves_its_history_and_is_skipped_when_resumed(tmp_path: Path, capsys) -> None:
    arguments = ["train", "3", "--out", str(tmp_path), *TINY, "--seeds", "0", "1"]
    rates = ["--strict-weight", "0.5", "1", "--log", "tensorboard"]
    main([*arguments, *rates])
    capsys.readouterr()
    card = json.loads((tmp_path / "3" / "card.json").read_text())
    assert [(m["seed"], m["strict_weight"]) for m in card["members"]] == [
        *((0, 0.5), (0, 1.0), (1, 0.5), (1, 1.0))
    ]
    rows = read_metrics(tmp_path / "3" / "history.jsonl")
    assert [row["batches"] for row in rows] == [2, 4]
    assert len(rows[0]["losses"]) == 4
    assert (tmp_path / "3" / "history.png").read_bytes().startswith(b"\x89PNG")
    assert list((tmp_path / "3" / "tensorboard").iterdir())
    assert not (tmp_path / "3.training").exists()

    main([*arguments, *rates, "--resume"])
    assert "case 3: done before" in capsys.readouterr().out
    main([*arguments, "--resume"])  # other members: made anew
    assert "did NOT reach" in capsys.readouterr().out


def test_all_is_checked_before_any_work(tmp_path: Path, monkeypatch, capsys) -> None:
    """An interrupted run is still there after a call that cannot be obeyed."""
    begun = tmp_path / "3.training" / "checkpoints"
    begun.mkdir(parents=True)
    (tmp_path / "7").mkdir()
    monkeypatch.setitem(sys.modules, "wandb", None)
    for arguments, message in (
        (["3", "--log", "wandb"], "logging to wandb needs"),
        (["7"], "7 exists and is not a model; will not replace it"),
        (["3", "--seeds", str(2**80)], r"a seed must be at least 0 and below 2\*\*32"),
    ):
        with pytest.raises(SystemExit):
            main(["train", *arguments, "--out", str(tmp_path)])
        assert re.search(message, capsys.readouterr().err)
    with pytest.raises(SystemExit):
        main(["train", "3", "--out", __file__])
    assert f"cannot write to {__file__}: " in capsys.readouterr().err
    assert begun.exists()


class KilledError(BaseException):
    """Stands for a signal."""


@pytest.mark.parametrize(
    "moment",
    [
        "interpbench_jax.zoo.checkpoints.Checkpoints.save",
        "interpbench_jax.benchmark.draw_history.draw_history",
    ],
)
def test_no_round_of_the_history_is_lost(tmp_path: Path, monkeypatch, capsys, moment) -> None:
    """A run is killed after its first round was told, or while its results are written."""
    arguments = ["train", "3", "--out", str(tmp_path), *TINY]

    def killed(*_: object, **__: object) -> None:
        raise KilledError

    with monkeypatch.context() as patched:
        patched.setattr(moment, killed)
        with pytest.raises(KilledError):
            main(arguments)
    main([*arguments, "--resume"])
    assert "done before" not in capsys.readouterr().out
    assert [row["round"] for row in read_metrics(tmp_path / "3" / "history.jsonl")] == [1, 2]
    assert [path.name for path in tmp_path.iterdir()] == ["3"]
    assert (tmp_path / "3" / "history.png").exists()


def test_resuming_needs_the_same_settings(tmp_path: Path, capsys) -> None:
    running = tmp_path / "3.training" / "checkpoints"
    running.mkdir(parents=True)
    (running / "settings.json").write_text(json.dumps({"case": "3"}))
    with pytest.raises(SystemExit):
        main(["train", "3", "--out", str(tmp_path), *TINY, "--resume"])
    assert "holds a run with batch_size = None, not 8" in capsys.readouterr().err


PROGRESS = Progress(
    case="3",
    round=1,
    batches=250,
    batches_per_second=None,
    losses=[[1.0, 2.0, 3.0]],
    loss=[6.0],
    accuracy=[0.5],
    iia=[0.25],
    siia=[float("nan")],
    done=[False],
    diverged=[False],
    leading=0,
)


def test_numbers_go_to_weights_and_biases(monkeypatch, tmp_path: Path) -> None:
    """A stand-in for the package, which needs an account."""
    logged = []
    run = types.SimpleNamespace(log=lambda numbers, step: logged.append((step, numbers)))
    fake = types.SimpleNamespace(init=lambda project, name: run)
    monkeypatch.setitem(sys.modules, "wandb", fake)
    dashboard("wandb", "3", tmp_path)(PROGRESS)
    ((step, numbers),) = logged
    assert step == 250
    assert numbers["member0/loss/iit"] == 2.0
    assert numbers["member0/accuracy"] == 0.5


def test_a_missing_dashboard_says_what_to_install(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ValueError, match="logging to wandb needs `pip install wandb`"):
        dashboard("wandb", "3", tmp_path)


def test_unknown_numbers_become_null() -> None:
    assert PROGRESS.as_json()["siia"] == [None]


def test_cases_of_one_shape_train_together(tmp_path: Path, capsys) -> None:
    """8 and 20 share a shape; every case gets its own directory, and is skipped when resumed."""
    call = ["train", "8", "20", "--together", *TINY, "--out", str(tmp_path)]
    main(call)
    printed = capsys.readouterr().out
    for name in ("8", "20"):
        card = json.loads((tmp_path / name / "card.json").read_text())
        assert card["case"] == name and card["batches"] == 4
        assert len(read_metrics(tmp_path / name / "history.jsonl")) == 2
        assert f"case {name}: did NOT reach" in printed
    assert sorted(path.name for path in tmp_path.iterdir()) == ["20", "8"]
    main([*call, "--resume"])
    assert capsys.readouterr().out.count("done before") == 2


class Killed(Exception):
    pass


def test_cases_trained_together_go_on_where_they_were_interrupted(
    tmp_path: Path, monkeypatch, capsys
) -> None:
    """After a round, and again between the models that are written in the end."""

    def call(out: str, *more: str) -> None:
        main(["train", "8", "20", "--together", *TINY, "--out", str(tmp_path / out), *more])

    def weights(out: str, name: str) -> bytes:
        return (tmp_path / out / name / "model.safetensors").read_bytes()

    call("whole")
    save, finish = Checkpoints.save, TrainingRun.finish

    def save_and_die(self, state) -> None:
        save(self, state)
        raise Killed

    def finish_the_first(self, model) -> None:
        if model.case == "20":
            raise Killed
        finish(self, model)

    for owner, name, dying in (
        (Checkpoints, "save", save_and_die),
        (TrainingRun, "finish", finish_the_first),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(owner, name, dying)
            with pytest.raises(Killed):
                call("parts", "--resume")
    card = json.loads((tmp_path / "parts" / "8" / "card.json").read_text())
    assert card["rounds_before_resuming"] == 1
    call("parts", "--resume")
    assert "case 8: done before" in capsys.readouterr().out
    for name in ("8", "20"):
        assert weights("parts", name) == weights("whole", name)
        rows = read_metrics(tmp_path / "parts" / name / "history.jsonl")
        assert [row["round"] for row in rows] == [1, 2]
    assert sorted(path.name for path in (tmp_path / "parts").iterdir()) == ["20", "8"]


def test_a_run_that_was_interrupted_alone_goes_on_alone(tmp_path: Path, monkeypatch) -> None:
    save = Checkpoints.save

    def save_and_die(self, state) -> None:
        save(self, state)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Checkpoints, "save", save_and_die)
        with pytest.raises(Killed):
            main(["train", "8", *TINY, "--out", str(tmp_path)])
    main(["train", "8", "20", "--together", "--resume", *TINY, "--out", str(tmp_path)])
    before = {
        name: json.loads((tmp_path / name / "card.json").read_text())["rounds_before_resuming"]
        for name in ("8", "20")
    }
    assert before == {"8": 1, "20": 0}


def test_a_model_of_other_settings_is_replaced_with_a_word(tmp_path: Path, capsys) -> None:
    call = ["train", "8", *TINY, "--out", str(tmp_path)]
    main(call)
    main([*call, "--seeds", "1", "--resume"])
    printed = " ".join(capsys.readouterr().out.split())
    assert "has other settings, and will be replaced" in printed
    assert json.loads((tmp_path / "8" / "card.json").read_text())["seed"] == 1


def test_lengths_are_checked_before_any_work(tmp_path: Path, capsys) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(["train", "8", "--min-length", "99", "--out", str(tmp_path / "none")])
    assert exit_info.value.code == 2
    assert "min_length must be between 1 and" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
