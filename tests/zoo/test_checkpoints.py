"""An interrupted run loses nothing, and ends as if it had not been interrupted."""

import dataclasses
import random
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
from interpbench_jax.zoo.checkpoints import Checkpoints
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


def test_repeated_rounds_replace_the_lines_of_before(tmp_path: Path) -> None:
    rounds: list[TrainState] = []
    train_siit(copy_problem(), MODEL, CROWD, on_round=rounds.append)
    progress = [progress_of(state, "copy", 10, None) for state in rounds[:4]]
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
