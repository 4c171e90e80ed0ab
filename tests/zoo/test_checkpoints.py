"""An interrupted run loses nothing, and ends as if it had not been interrupted."""

import dataclasses
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

from interpbench_jax.siit import TrainState, init_states, members, train_siit
from interpbench_jax.zoo import make_model
from interpbench_jax.zoo.checkpoints import Checkpoints, discard, rounds_stored
from interpbench_jax.zoo.metrics_file import MetricsFile, read_metrics
from interpbench_jax.zoo.progress import progress_of
from tests.siit.test_train import MODEL, QUICK, copy_problem

CROWD = members(dataclasses.replace(QUICK, max_batches=60), seeds=(0, 1))
SETTINGS = {"case": "copy", "seeds": (0, 1)}


class Interrupted(Exception):
    pass


def test_a_run_goes_on_from_its_last_checkpoint(tmp_path: Path) -> None:
    problem = copy_problem()
    whole = train_siit(problem, MODEL, CROWD)
    fresh = init_states(CROWD, problem, MODEL)

    def until_round(last: int, saved: Checkpoints):
        def on_round(state) -> None:
            saved.save(state)
            if int(state.round.max()) == last:
                raise Interrupted

        return on_round

    for start, end in ((0, 2), (2, 3)):
        saved = Checkpoints(tmp_path / "run", SETTINGS, resume=start > 0)
        state = saved.latest(fresh)
        assert (0 if state is None else int(state.round.max())) == start
        with saved, pytest.raises(Interrupted):
            train_siit(problem, MODEL, CROWD, state=state, on_round=until_round(end, saved))
    with Checkpoints(tmp_path / "run", SETTINGS, resume=True) as saved:
        state = saved.latest(fresh)
        assert state is not None and int(state.round.max()) == 3
        resumed = train_siit(problem, MODEL, CROWD, state=state)
    for ours, expected in zip(jax.tree.leaves(resumed), jax.tree.leaves(whole), strict=True):
        np.testing.assert_array_equal(ours, expected)


def test_a_run_of_other_settings_is_not_resumed(tmp_path: Path) -> None:
    with Checkpoints(tmp_path / "run", SETTINGS, resume=False):
        pass
    other = SETTINGS | {"seeds": (0,)}
    with pytest.raises(ValueError, match=r"holds a run with seeds = \[0, 1\], not \[0\]"):
        Checkpoints(tmp_path / "run", other, resume=True)
    with Checkpoints(tmp_path / "run", other, resume=False) as anew:
        assert anew.latest(init_states(CROWD, copy_problem(), MODEL)) is None


def test_a_state_without_its_settings_is_not_resumed(tmp_path: Path) -> None:
    """As a kill leaves it that came between the removal of one file and another."""
    fresh, run = init_states(CROWD, copy_problem(), MODEL), tmp_path / "run"
    with Checkpoints(run, SETTINGS, resume=False) as saved:
        saved.save(fresh._replace(round=fresh.round + 3))
    assert rounds_stored(run) == 3
    (run / "settings.json").unlink()
    assert rounds_stored(run) == 0
    with Checkpoints(run, SETTINGS | {"seeds": (7, 8)}, resume=True) as saved:
        assert saved.latest(fresh) is None


def test_a_kill_while_a_run_is_removed_leaves_nothing_to_resume(
    tmp_path: Path, monkeypatch
) -> None:
    fresh, run = init_states(CROWD, copy_problem(), MODEL), tmp_path / "run"
    with Checkpoints(run, SETTINGS, resume=False) as saved:
        saved.save(fresh)

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


def test_what_cannot_be_trained_leaves_the_checkpoints_alone(tmp_path: Path, monkeypatch) -> None:
    with Checkpoints(tmp_path, SETTINGS, resume=False):
        pass
    config = dataclasses.replace(QUICK, n_pairs=2, held_out=0.1)
    with pytest.raises(ValueError, match="holding out 0.1 of 2 pairs leaves a side empty"):
        make_model("3", config, checkpoints=tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(jax, "devices", lambda: list(range(7)))
        with pytest.raises(ValueError, match="7 devices cannot be filled by 1 members"):
            make_model("3", QUICK, checkpoints=tmp_path)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with pytest.raises(ValueError, match="made and written by one process, not by 2"):
        make_model("3", QUICK, checkpoints=tmp_path)
    assert (tmp_path / "settings.json").exists()


def test_repeated_rounds_replace_the_lines_of_before(tmp_path: Path) -> None:
    rounds: list[TrainState] = []
    train_siit(copy_problem(), MODEL, CROWD, on_round=rounds.append)
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
    assert rows[3] == progress[3].as_json()
    assert np.isfinite(rows[0]["losses"]).all() and len(rows[0]["accuracy"]) == 2


@pytest.mark.slow
def test_killed_at_random_the_run_ends_bit_identical(tmp_path: Path) -> None:
    """`kill -9` at four moments, then `--resume` each time."""
    train = ("train", "3", "--max-batches", "600", "--round-batches", "20", "--threshold", "0.9999")

    def start(out: str, *more: str) -> subprocess.Popen:
        program = "from interpbench_jax.cli import main; main()"
        arguments = [*train, "--out", str(tmp_path / out), *more]
        command = [sys.executable, "-c", program, *arguments]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL)

    assert start("whole").wait() == 0
    moments = random.Random(0)
    for _ in range(4):
        process = start("killed", "--resume")
        states = tmp_path / "killed" / "3.training" / "checkpoints" / "states"
        before = set(states.iterdir()) if states.exists() else set()
        while process.poll() is None and (not states.exists() or set(states.iterdir()) <= before):
            time.sleep(0.05)  # until it writes for the first time
        time.sleep(moments.uniform(0, 1.5))
        process.send_signal(signal.SIGKILL)
        process.wait()
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
    started = time.monotonic()
    assert start("killed", "--resume").wait() == 0  # done before
    assert time.monotonic() - started < 20
