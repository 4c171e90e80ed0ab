"""An interrupted run loses nothing, and its result is the same as without interruption."""

import dataclasses
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
import safetensors.numpy

from interpbench_jax.cases import Mixture, get_case
from interpbench_jax.compiler import compile_case
from interpbench_jax.files import to_json
from interpbench_jax.siit import TrainState, init_states, members, train_siit
from interpbench_jax.zoo import make_model
from interpbench_jax.zoo.checkpoints import Checkpoints, discard, rounds_stored
from interpbench_jax.zoo.make import describe_run
from interpbench_jax.zoo.metrics_file import MetricsFile, read_metrics
from interpbench_jax.zoo.progress import Progress, progress_of
from tests.siit.test_train import MODEL, QUICK, copy_problem

POPULATION = members(dataclasses.replace(QUICK, max_batches=60), seeds=(0, 1))
SETTINGS = {"case": "copy", "seeds": (0, 1)}


class Interrupted(Exception):
    pass


def test_a_run_resumes_from_its_last_checkpoint(tmp_path: Path) -> None:
    problem = copy_problem()
    whole = train_siit(problem, MODEL, POPULATION)
    fresh = init_states(POPULATION, problem, MODEL)

    def until_round(last: int, saved: Checkpoints):
        def on_round(state) -> None:
            saved.save(state, 1.5 * int(state.round.max()))
            if int(state.round.max()) == last:
                raise Interrupted

        return on_round

    for start, end in ((0, 2), (2, 3)):
        saved = Checkpoints(tmp_path / "run", SETTINGS, resume=start > 0)
        last = saved.latest(fresh)
        state = None if last is None else last.state
        assert (0 if last is None else int(last.state.round.max())) == start
        with saved, pytest.raises(Interrupted):
            train_siit(problem, MODEL, POPULATION, state=state, on_round=until_round(end, saved))
    with Checkpoints(tmp_path / "run", SETTINGS, resume=True) as saved:
        last = saved.latest(fresh)
        assert last is not None and int(last.state.round.max()) == 3
        assert last.seconds == 4.5
        resumed = train_siit(problem, MODEL, POPULATION, state=last.state)
    for ours, expected in zip(jax.tree.leaves(resumed), jax.tree.leaves(whole), strict=True):
        np.testing.assert_array_equal(ours, expected)


def test_a_run_of_other_settings_is_not_resumed(tmp_path: Path) -> None:
    with Checkpoints(tmp_path / "run", SETTINGS, resume=False):
        pass
    other = SETTINGS | {"seeds": (0,)}
    with pytest.raises(ValueError, match=r"holds a run with seeds = \[0, 1\], not \[0\]"):
        Checkpoints(tmp_path / "run", other, resume=True)
    with Checkpoints(tmp_path / "run", other, resume=False) as anew:
        assert anew.latest(init_states(POPULATION, copy_problem(), MODEL)) is None


def test_a_state_without_its_settings_is_not_resumed(tmp_path: Path) -> None:
    """As left by a kill between the removal of two files."""
    fresh, run = init_states(POPULATION, copy_problem(), MODEL), tmp_path / "run"
    with Checkpoints(run, SETTINGS, resume=False) as saved:
        saved.save(fresh._replace(round=fresh.round + 3), 3.0)
    assert rounds_stored(run) == 3
    (run / "settings.json").unlink()
    assert rounds_stored(run) == 0
    with pytest.warns(UserWarning, match="the older run in .*run is kept in .*run-1"):
        anew = Checkpoints(run, SETTINGS | {"seeds": (7, 8)}, resume=True)
    with anew:
        assert anew.latest(fresh) is None


def test_a_kill_while_a_run_is_removed_leaves_nothing_to_resume(
    tmp_path: Path, monkeypatch
) -> None:
    fresh, run = init_states(POPULATION, copy_problem(), MODEL), tmp_path / "run"
    with Checkpoints(run, SETTINGS, resume=False) as saved:
        saved.save(fresh, 0.0)

    def killed(directory: Path, **_: object) -> None:
        if directory.exists():
            raise Interrupted

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", killed)
        with pytest.raises(Interrupted):
            discard(run)
    assert not run.exists() and len(list(tmp_path.iterdir())) == 1
    with Checkpoints(run, SETTINGS | {"seeds": (7, 8)}, resume=True) as saved:
        assert saved.latest(fresh) is None
    assert list(tmp_path.iterdir()) == [run]


def test_errors_before_training_keep_the_checkpoints(tmp_path: Path, monkeypatch) -> None:
    with Checkpoints(tmp_path, SETTINGS, resume=False):
        pass
    config = dataclasses.replace(QUICK, n_pairs=2, held_out=0.1)
    with pytest.raises(ValueError, match="holding out 0.1 of 2 pairs leaves a part empty"):
        make_model("3", config, checkpoints=tmp_path)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with pytest.raises(ValueError, match="made by a single process, got 2 processes"):
        make_model("3", QUICK, checkpoints=tmp_path)
    assert (tmp_path / "settings.json").exists()


def test_repeated_rounds_replace_their_earlier_lines(tmp_path: Path) -> None:
    rounds: list[TrainState] = []
    train_siit(copy_problem(), MODEL, POPULATION, on_round=rounds.append)
    progress = [progress_of(state, "copy", QUICK, None) for state in rounds[:4]]
    file = tmp_path / "metrics.jsonl"
    first = MetricsFile(file)
    for now in progress[:3]:
        first(now)
    with file.open("a") as stream:
        stream.write('{"case": "co')  # killed while writing
    again = MetricsFile(file)
    for now in progress[2:]:
        again(now)
    rows = read_metrics(file)
    assert [row["round"] for row in rows] == [1, 2, 3, 4]
    assert rows[3] == json.loads(to_json(progress[3]._asdict()))
    assert np.isfinite(rows[0]["losses"]).all() and len(rows[0]["accuracy"]) == 2


ROUND = Progress(
    case="copy",
    round=1,
    batches=20,
    batches_per_second=None,
    losses=[[0.0] * 3],
    loss=[0.0],
    accuracy=[1.0],
    iia=[1.0],
    siia=[1.0],
    edges=[1.0],
    done=[False],
    diverged=[False],
    leading=0,
)


@pytest.mark.parametrize(("at", "damage"), [(2, b"{"), (1, b"\xff"), (1, b""), (4, b"[4]")])
def test_damaged_lines_are_left_out_with_a_warning_and_kept_aside(
    tmp_path: Path, at: int, damage: bytes
) -> None:
    file = tmp_path / "metrics.jsonl"
    lines = [to_json(ROUND._replace(round=number)._asdict()).encode() for number in range(1, 6)]
    lines[at - 1] = damage
    old = b"\n".join([*lines, b""])
    file.write_bytes(old)
    with pytest.warns(UserWarning, match=rf"damaged lines \({at}\).*metrics.jsonl.damaged"):
        MetricsFile(file)(ROUND._replace(round=6))
    kept = [number for number in range(1, 7) if number != at]
    assert [row["round"] for row in read_metrics(file)] == kept
    assert (tmp_path / "metrics.jsonl.damaged").read_bytes() == old


def test_a_history_that_cannot_be_read_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").mkdir()
    with pytest.raises(ValueError, match="metrics.jsonl is not a regular file"):
        MetricsFile(tmp_path / "metrics.jsonl")(ROUND)
    assert (tmp_path / "metrics.jsonl").is_dir()


def stored_run(directory: Path) -> tuple[TrainState, list[Path]]:
    """A run of two rounds: a fresh state, and the files of the rounds, newest first."""
    fresh = init_states(POPULATION, copy_problem(), MODEL)
    with Checkpoints(directory, SETTINGS, resume=False) as saved:
        for number in (1, 2):
            saved.save(fresh._replace(round=fresh.round + number), 1.0)
    files = sorted((directory / "states").iterdir(), reverse=True)
    assert len(files) == 2
    return fresh, files


def cut(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


def invert_a_byte(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 0xFF
    file.write_bytes(content)


@pytest.mark.parametrize("damage", [cut, invert_a_byte, lambda file: file.write_bytes(b"")])
def test_a_damaged_state_is_named_kept_and_skipped(tmp_path: Path, damage) -> None:
    run = tmp_path / "run"
    fresh, (newest, older) = stored_run(run)
    damage(newest)
    assert rounds_stored(run) == 1
    with Checkpoints(run, SETTINGS, resume=True) as saved:
        with pytest.warns(UserWarning, match=f"{newest} is damaged.*continuing from {older.name}"):
            last = saved.latest(fresh)
        assert last is not None and last.state.round.tolist() == [1, 1]
        saved.save(fresh._replace(round=fresh.round + 2), 2.0)
    assert {file.name for file in (run / "states").iterdir()} == {
        *(older.name, newest.name, f"{newest.name}.damaged")
    }
    with Checkpoints(run, SETTINGS, resume=True) as saved:
        last = saved.latest(fresh)
        assert last is not None and last.state.round.tolist() == [2, 2]


def test_if_all_states_are_damaged_nothing_is_changed(tmp_path: Path) -> None:
    fresh, files = stored_run(tmp_path / "run")
    for file in files:
        cut(file)
    before = {file: file.read_bytes() for file in files}
    with Checkpoints(tmp_path / "run", SETTINGS, resume=True) as saved:
        both = f"{files[0]} is damaged.*{files[1]} is damaged.*nothing was deleted"
        with pytest.raises(ValueError, match=both):
            saved.latest(fresh)
    assert {file: file.read_bytes() for file in files} == before


@pytest.mark.parametrize("content", ['{"case": "co', "[]", "\xff"])
def test_damaged_settings_are_named(tmp_path: Path, content: str) -> None:
    stored_run(tmp_path / "run")
    settings = tmp_path / "run" / "settings.json"
    settings.write_text(content)
    for _ in range(2):  # the lock was released
        with pytest.raises(ValueError, match=str(settings)):
            Checkpoints(tmp_path / "run", SETTINGS, resume=True)
    assert settings.read_text() == content


@pytest.mark.parametrize("resume", [False, True])
def test_a_directory_of_other_files_is_refused(tmp_path: Path, resume: bool) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("...")
    with pytest.raises(ValueError, match="thesis is not a run of training: it holds 'chapter.tex'"):
        Checkpoints(tmp_path / "thesis", SETTINGS, resume=resume)
    assert [file.name for file in (tmp_path / "thesis").iterdir()] == ["chapter.tex"]


def test_an_older_run_is_moved_aside(tmp_path: Path) -> None:
    fresh, _ = stored_run(tmp_path / "run")
    for number in (1, 2):
        with pytest.warns(UserWarning, match=f"is kept in {tmp_path / 'older'}/run-{number}"):
            anew = Checkpoints(tmp_path / "run", SETTINGS | {"seeds": (7,)}, resume=False)
        with anew:
            assert anew.latest(fresh) is None
            anew.save(fresh, 0.0)
        assert rounds_stored(tmp_path / "older" / "run-1") == 2


def test_a_second_process_is_refused_and_names_the_first(tmp_path: Path) -> None:
    with Checkpoints(tmp_path / "run", SETTINGS, resume=False):
        holder = f"run is in use by process {os.getpid()} on .* since 20"
        for resume in (False, True):
            with pytest.raises(ValueError, match=holder):
                Checkpoints(tmp_path / "run", SETTINGS, resume=resume)
    with Checkpoints(tmp_path / "run", SETTINGS, resume=True):
        pass


def test_a_run_is_another_one_if_anything_that_affects_its_numbers_differs() -> None:
    case, other_program = get_case("3"), get_case("8")

    def last_half(key, drawn, n_tokens):
        return drawn.at[:, :2].set(0)

    cases = [
        case,
        dataclasses.replace(case, program=other_program.program),
        dataclasses.replace(case, vocab=case.vocab[::-1]),
        dataclasses.replace(case, compression=case.compression * 2),
        dataclasses.replace(case, sampler=Mixture(((0.5, last_half),))),
    ]
    populations = [POPULATION, POPULATION[:1], members(dataclasses.replace(QUICK, batch_size=8))]
    runs = [
        describe_run([compile_case(one)], population) for one in cases for population in populations
    ]
    assert len({json.dumps(run) for run in runs}) == len(cases) * len(populations)
    assert describe_run([compile_case(dataclasses.replace(case))], POPULATION) == runs[0]


@pytest.mark.slow
def test_a_run_killed_at_random_ends_bit_identical(tmp_path: Path) -> None:
    """`kill -9` at four moments, then `--resume` each time."""
    train = ("train", "3", "--max-batches", "600", "--round-batches", "20", "--threshold", "0.9999")

    def start(out: str, *more: str) -> subprocess.Popen:
        program = "from interpbench_jax.cli import main; main()"
        arguments = [*train, "--out", str(tmp_path / out), *more]
        command = [sys.executable, "-c", program, *arguments]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL)

    assert start("whole").wait() == 0
    moments, ended = random.Random(0), []
    for _ in range(4):
        process = start("killed", "--resume")
        states = tmp_path / "killed" / "3.training" / "checkpoints" / "states"
        before = set(states.iterdir()) if states.exists() else set()
        while process.poll() is None and (not states.exists() or set(states.iterdir()) <= before):
            time.sleep(0.05)  # until its first write
        time.sleep(moments.uniform(0, 1.5))
        process.send_signal(signal.SIGKILL)
        ended.append(process.wait())
    assert -signal.SIGKILL in ended
    assert start("killed", "--resume").wait() == 0
    whole, killed = (
        safetensors.numpy.load_file(tmp_path / out / "3" / "model.safetensors")
        for out in ("whole", "killed")
    )
    for name, weight in whole.items():
        np.testing.assert_array_equal(killed[name], weight)
    rows = [read_metrics(tmp_path / out / "3" / "history.jsonl") for out in ("whole", "killed")]
    for ours, expected in zip(*rows, strict=True):
        assert ours | {"batches_per_second": 0} == expected | {"batches_per_second": 0}
    written = (tmp_path / "killed" / "3" / "model.safetensors").stat().st_mtime_ns
    assert start("killed", "--resume").wait() == 0  # already finished
    assert (tmp_path / "killed" / "3" / "model.safetensors").stat().st_mtime_ns == written
