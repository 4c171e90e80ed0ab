"""Interrupted runs of `interpbench train`."""

import dataclasses
import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from interpbench_jax.cases import get_case
from interpbench_jax.cli import main
from interpbench_jax.cli import train as train_module
from interpbench_jax.cli.training_run import TrainingRun, locked_runs
from interpbench_jax.zoo.checkpoints import Checkpoints, rounds_stored
from interpbench_jax.zoo.metrics_file import read_metrics
from tests.test_cli_train import TINY

pytestmark = pytest.mark.xdist_group("train case 3")  # one compiled training for all


@pytest.mark.parametrize("together", [(), ("--together",)])
def test_an_older_run_is_kept_if_the_problem_cannot_be_built(
    tmp_path: Path, monkeypatch, capsys, together
) -> None:
    begun = tmp_path / "3.training" / "checkpoints"
    begun.mkdir(parents=True)

    def refuse(*_: object, **__: object) -> None:
        raise ValueError("no such pairs")

    monkeypatch.setattr("interpbench_jax.zoo.prepared.problem_of_pairs", refuse)
    with pytest.raises(SystemExit) as exit_info:
        main(["train", "3", "--out", str(tmp_path), *TINY, *together])
    assert exit_info.value.code == 2
    assert "no such pairs" in capsys.readouterr().err
    assert begun.exists()


class KilledError(BaseException):
    """Simulates a signal."""


@pytest.mark.parametrize(
    "moment",
    [
        "interpbench_jax.zoo.checkpoints.Checkpoints.save",
        pytest.param("shutil.copytree", marks=pytest.mark.slow),
        "interpbench_jax.benchmark.draw_history.draw_history",
    ],
)
def test_no_round_of_the_history_is_lost(tmp_path: Path, monkeypatch, capsys, moment) -> None:
    """A run is killed after its first round was printed, or while its results are written."""
    arguments = ["train", "3", "--out", str(tmp_path), *TINY, "--log", "tensorboard"]

    def killed(*_: object, **__: object) -> None:
        raise KilledError

    with monkeypatch.context() as patched:
        patched.setattr(moment, killed)
        with pytest.raises(KilledError):
            main(arguments)
    main([*arguments, "--resume"])
    assert "done before" not in capsys.readouterr().out
    assert [row["round"] for row in read_metrics(tmp_path / "3" / "history.jsonl")] == [1, 2]
    assert json.loads((tmp_path / "3" / "card.json").read_text())["seconds"] > 0
    assert [path.name for path in tmp_path.iterdir()] == ["3"]
    assert (tmp_path / "3" / "history.png").exists()
    assert list((tmp_path / "3" / "tensorboard").iterdir())


def test_remains_of_a_finished_run_are_removed(tmp_path: Path, monkeypatch, capsys) -> None:
    """A run is killed after its results are written and before its directory is removed."""
    arguments = ["train", "3", "--out", str(tmp_path), *TINY]

    def killed(directory: Path) -> None:
        if directory.exists():
            raise KilledError

    with monkeypatch.context() as patched:
        patched.setattr("interpbench_jax.zoo.checkpoints.discard", killed)
        with pytest.raises(KilledError):
            main(arguments)
    left, aside = (tmp_path / name for name in ("3.training", ".3.training.discarded"))
    settings = left / "checkpoints" / "settings.json"
    own = settings.read_text()
    settings.write_text(json.dumps({"case": "3"}))
    main([*arguments, "--resume"])
    assert left.exists()  # of another run, which may be resumed
    settings.write_text(own)
    main([*arguments, "--resume"])
    assert [path.name for path in tmp_path.iterdir()] == ["3"]
    aside.mkdir()
    main([*arguments, "--resume"])
    assert [path.name for path in tmp_path.iterdir()] == ["3"]
    assert capsys.readouterr().out.count("done before") == 3


def test_resuming_needs_the_same_settings(tmp_path: Path, capsys) -> None:
    running = tmp_path / "3.training" / "checkpoints"
    running.mkdir(parents=True)
    (running / "settings.json").write_text(json.dumps({"case": "3"}))
    with pytest.raises(SystemExit):
        main(["train", "3", "--out", str(tmp_path), *TINY, "--resume"])
    assert "holds a run with batch_size = None, not 8" in capsys.readouterr().err


class Killed(Exception):
    pass


@contextmanager
def killed_after_the_first_round(monkeypatch) -> Iterator[None]:
    """Code in the block is killed as soon as it has saved its state."""
    save = Checkpoints.save

    def save_and_die(self, state, seconds) -> None:
        save(self, state, seconds)
        raise Killed

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(Checkpoints, "save", save_and_die)
        yield


@pytest.mark.slow
def test_cases_trained_together_are_resumed(tmp_path: Path, monkeypatch, capsys) -> None:
    """Interrupted after a round, and again between writing two models at the end."""

    def call(out: str, *more: str) -> None:
        main(["train", "8", "20", "--together", *TINY, "--out", str(tmp_path / out), *more])

    def weights(out: str, name: str) -> bytes:
        return (tmp_path / out / name / "model.safetensors").read_bytes()

    call("whole")
    finish = TrainingRun.finish

    def finish_the_first(self, model) -> None:
        if model.case == "20":
            raise Killed
        finish(self, model)

    with killed_after_the_first_round(monkeypatch):
        call("parts", "--resume")
    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(TrainingRun, "finish", finish_the_first)
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


@pytest.mark.slow
def test_a_run_of_one_case_is_resumed_alone(tmp_path: Path, monkeypatch) -> None:
    with killed_after_the_first_round(monkeypatch):
        main(["train", "8", *TINY, "--out", str(tmp_path)])
    main(["train", "8", "20", "--together", "--resume", *TINY, "--out", str(tmp_path)])
    before = {
        name: json.loads((tmp_path / name / "card.json").read_text())["rounds_before_resuming"]
        for name in ("8", "20")
    }
    assert before == {"8": 1, "20": 0}


def test_an_interrupted_group_is_resumed_if_others_were_done_before(
    tmp_path: Path, monkeypatch
) -> None:
    """Case 8 was done before 20 and 33 were begun together; 20 was done when they stopped."""
    trained: list[tuple[list[str], list[str]]] = []

    def remember(group, *_: object, skip=(), **__: object) -> None:
        trained.append((group, list(skip)))

    monkeypatch.setattr(train_module, "_train_group", remember)
    monkeypatch.setattr(train_module, "is_done", lambda name, *_: name in ("8", "20"))
    state = tmp_path / "together-20-and-1-more.training" / "checkpoints"
    state.mkdir(parents=True)
    (state / "settings.json").write_text(json.dumps({"case": "20 33"}))
    call = ["train", "8", "20", "33", "--together", *TINY, "--out", str(tmp_path)]
    main([*call, "--resume"])
    assert trained == [(["20", "33"], ["20"])]
    main(call)
    assert trained[1:] == [(["8", "20", "33"], [])]


def test_older_models_and_runs_are_moved_aside(tmp_path: Path, monkeypatch, capsys) -> None:
    """A model of other settings, the same model trained again, and an interrupted run."""
    call = ["train", "3", *TINY, "--out", str(tmp_path)]

    def seed_of(place: str) -> int:
        return json.loads((tmp_path / place / "card.json").read_text())["seed"]

    main(call)
    capsys.readouterr()
    main([*call, "--seeds", "1", "--resume"])
    printed = " ".join(capsys.readouterr().out.split())
    assert "is from another run, and will be moved aside" in printed
    unwrapped = printed.replace(" ", "")  # a path may contain a line break
    assert f"the older model is kept in {tmp_path}/older/3-1".replace(" ", "") in unwrapped
    assert (seed_of("older/3-1"), seed_of("3")) == (0, 1)
    with killed_after_the_first_round(monkeypatch):
        main([*call, "--seeds", "2"])
    main([*call, "--seeds", "3"])
    printed = " ".join(capsys.readouterr().out.split())
    assert "starting a new run; the interrupted run, which --resume would have continued" in printed
    assert rounds_stored(tmp_path / "older" / "3.training-1" / "checkpoints") == 1
    assert (seed_of("older/3-1"), seed_of("older/3-2"), seed_of("3")) == (0, 1, 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["3", "older"]


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (KeyboardInterrupt(), 130, "interpbench: interrupted: "),
        (OSError(28, "No space left on device"), 1, "interpbench: cannot write to"),
    ],
)
def test_a_stopped_run_prints_how_to_resume(
    tmp_path: Path, monkeypatch, capsys, error: BaseException, code: int, line: str
) -> None:
    """Stopped by Ctrl-C or a full disk, after its first round."""
    call = ["train", "3", *TINY, "--out", str(tmp_path)]
    save = Checkpoints.save

    def save_and_stop(self, state, seconds) -> None:
        save(self, state, seconds + 1_000)
        raise error

    with monkeypatch.context() as patched, pytest.raises(SystemExit) as exit_info:
        patched.setattr(Checkpoints, "save", save_and_stop)
        patched.setattr("os._exit", sys.exit)  # otherwise it would end the tests
        patched.setattr("signal.signal", lambda *_: None)
        main(call)
    assert exit_info.value.code == code
    message = capsys.readouterr().err.strip().splitlines()
    assert len(message) == 1 and message[0].startswith(line)
    assert message[0].endswith("the same command with --resume continues from the last round")
    main([*call, "--resume"])
    card = json.loads((tmp_path / "3" / "card.json").read_text())
    assert card["rounds_before_resuming"] == 1
    assert card["seconds"] > 1_000  # those before the stop count
    assert card["split"] == {"divided": True, "held_out": 0.2, "sequences": 256}


def test_a_second_command_is_refused_and_names_the_first(tmp_path: Path, capsys) -> None:
    with locked_runs(["3"], tmp_path), pytest.raises(SystemExit) as exit_info:
        main(["train", "4", "3", *TINY, "--out", str(tmp_path)])
    assert exit_info.value.code == 2
    message = capsys.readouterr().err
    assert re.search(f"{tmp_path}/3 is in use by process {os.getpid()} on .* since 20", message), (
        message
    )
    assert not list(tmp_path.iterdir())


def test_another_program_of_the_same_name_is_not_resumed(
    tmp_path: Path, monkeypatch, capsys
) -> None:
    """A user's case that was edited between two calls."""
    call = ["train", "3", *TINY, "--out", str(tmp_path)]
    with killed_after_the_first_round(monkeypatch):
        main(call)
    edited = dataclasses.replace(get_case("3"), program=get_case("8").program)
    monkeypatch.setattr("interpbench_jax.compiler.compiled.get_case", lambda _: edited)
    with pytest.raises(SystemExit):
        main([*call, "--resume"])
    assert "3.training/checkpoints holds a run with task = " in capsys.readouterr().err
