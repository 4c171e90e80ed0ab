"""`interpbench benchmark` and `report`, in this process; and killed, in a separate one."""

import errno
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from interpbench_jax.benchmark import Store
from interpbench_jax.benchmark.results_store import SCORES
from interpbench_jax.cli import main
from interpbench_jax.discovery import METHODS
from interpbench_jax.zoo.store import BUNDLED
from tests.benchmark.made_up import fill
from tests.golden_files import arrays_of

FEW = ["--cases", "3", "--methods", "eap", "--n-inputs", "40"]


def test_plan_run_and_run_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["benchmark", *FEW, "--seeds", "0", "1", "--out", str(tmp_path)]
    main([*arguments, "--dry-run"])
    out = capsys.readouterr().out
    assert "2 runs: 1 model (3) x 1 method (eap) x 1 ablation (resample) x 2 seeds (0, 1)" in out
    assert "0 done, 2 to do, in 1 compile group\n" in out
    assert not Store(tmp_path).status()

    main([*arguments, "--share", "1/2"])
    assert "share 1/2: 1 of them" in capsys.readouterr().out
    (first,) = Store(tmp_path).status()
    before = (tmp_path / "runs" / f"{first}.parquet").stat().st_mtime_ns

    main(arguments)
    out = capsys.readouterr().out
    assert "1 done, 1 to do" in out
    assert "2 of 2 runs have a result, 0 of them an error" in out
    assert (tmp_path / "runs" / f"{first}.parquet").stat().st_mtime_ns == before


def test_one_seed_gives_the_same_result_in_both_commands(tmp_path: Path) -> None:
    """Scores, random draws and selection of circuits are the same."""
    methods = ["random", "information_flow_routes"]
    common = ["--methods", *methods, "--n-inputs", "40", "--out"]
    main(["discover", "3", *common, str(tmp_path / "discover"), "--seed", "5"])
    main(["benchmark", "--cases", "3", *common, str(tmp_path), "--seeds", "5"])
    rows = {row["method"]: row for row in Store(tmp_path).read().iter_rows(named=True)}
    scores = arrays_of(tmp_path / "discover" / "3" / "scores.npz")
    findings = json.loads((tmp_path / "discover" / "3" / "findings.json").read_text())
    for found in findings:
        row = rows[found["method"]]
        np.testing.assert_array_equal(np.ravel(scores[found["method"]]), row["scores"])
        for name in ("selection", "edge_auroc", "edge_auroc_qkv", "node_auroc"):
            assert found[name] == row[name], name
        assert found["recall"] == row["found_recall"]
    assert [found["selection"] for found in findings] == ["top_n", "greedy"]


def test_report_prints_the_path_of_the_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(Store(tmp_path), ["3"], ["good"])
    main(["report", str(tmp_path), "--out", str(tmp_path / "page")])
    assert "page/index.html" in capsys.readouterr().out.replace("\n", "")
    assert (tmp_path / "page" / "index.html").is_file()


def test_all_methods_are_those_of_the_package(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dry = ["benchmark", "--cases", "3", "--dry-run", "--out", str(tmp_path), "--methods"]
    main([*dry, "all"])
    assert f"x {len(METHODS)} methods (eap, " in " ".join(capsys.readouterr().out.split())
    with pytest.raises(SystemExit):
        main([*dry, "all", "eap"])
    assert "method given twice: eap" in capsys.readouterr().err


def test_results_are_packed_and_reported_from_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(Store(tmp_path / "v1.2"), ["3"], ["good", "fair"])
    packed = tmp_path / "all.parquet"
    main(["report", str(tmp_path / "v1.2"), "--pack", str(packed)])
    main(["report", str(packed)])
    printed = capsys.readouterr().out.replace("\n", "")
    assert "v1.2/report/index.html" in printed and "all/report/index.html" in printed
    boards = [tmp_path / place / "report" / "tables" / "board.md" for place in ("v1.2", "all")]
    assert boards[0].read_text() == boards[1].read_text()
    assert "`good`" in boards[0].read_text()


@pytest.mark.slow
def test_a_killed_process_loses_only_its_current_run(tmp_path: Path) -> None:
    """Killed without cleaning up, continued in two shares, and called once more."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    seeds = ["--seeds", *map(str, range(6))]
    program = "import sys; from interpbench_jax.cli import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", program, "benchmark", *FEW, *seeds, "--out"]
    process = subprocess.Popen([*command, str(parts)], stdout=subprocess.DEVNULL)
    while not Store(parts).status() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert 0 < len(Store(parts).status()) < 6
    for share in ("0/2", "1/2"):
        subprocess.run([*command, str(parts), "--share", share], check=True, capture_output=True)
    subprocess.run([*command, str(whole)], check=True, capture_output=True)
    lasting = ["id", "status", "scores", *SCORES]
    assert Store(parts).read(lasting).equals(Store(whole).read(lasting))

    again = subprocess.run([*command, str(parts)], check=True, capture_output=True, text=True)
    assert "6 done, 0 to do" in again.stdout


@pytest.mark.slow
def test_failures_are_shown_and_can_be_retried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "failing_method.py").write_text("def find(*_):\n    raise OSError('disk full')")
    arguments = ["benchmark", "--cases", "3", "--methods", "failing_method:find", "--out", "out"]
    first, later, retried = "0 done, 1 to do", "1 failed (--retry-failed repeats", "0 done, 1 to do"
    for again, expected in (([], first), ([], later), (["--retry-failed"], retried)):
        with pytest.raises(SystemExit) as exit_info:
            main([*arguments, *again])
        assert exit_info.value.code == 1
        out = capsys.readouterr().out
        assert expected in out
        assert "OSError: disk full" in out
        assert "1 of 1 runs have a result, 1 of them an error; --retry-failed repeats these" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["benchmark", "--cases", "0"], "no bundled model of case '0'"),
        (["benchmark", "--methods", "guess"], "unknown method 'guess'; known: eap"),
        (["benchmark", "--methods", "nowhere:find"], "there is no module 'nowhere'"),
        (["benchmark", "--share", "2/2"], "a share must be one of"),
        (["benchmark", "--ablations", "median"], "unknown ablation 'median'"),
        (["benchmark", "--selection", "best"], "unknown selection 'best'; known: usual, top_n"),
        (["discover", "3", "--selection", "best"], "unknown selection 'best'; known: usual, top_n"),
        (["benchmark", "--n-inputs", "0"], "n_inputs must be at least 1, got 0"),
        (["benchmark", "--models", "nowhere"], "no model in nowhere"),
        (["benchmark", "--models", ".", "--compiled"], "exclude each other"),
        (["benchmark", "--models", ".", "--at-bar"], "--models and --at-bar exclude each other"),
        (["report", "nowhere"], "no results in nowhere"),
        (["report"], "give RESULTS"),
        (["report", "--leaderboard", "--pack", "x"], "--pack x needs a directory"),
        (["report", "pyproject.toml", "--pack", "x"], "--pack x needs a directory"),
        (["report", "pyproject.toml"], "pyproject.toml cannot be read"),
        (["benchmark", *FEW, "--out", __file__], f"cannot write to {__file__}: "),
        (["benchmark", *FEW, "--out", "/proc/x"], "cannot write to /proc/x: "),
        (["benchmark", *FEW, "--seeds", "4294967296"], "below 2**32, got 4294967296"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = [] if "--out" in arguments else ["--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as exit_info:
        main([*arguments, *more])
    assert exit_info.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_model_of_an_unknown_case_or_a_broken_one_is_refused_before_any_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("INTERPBENCH_CASES", raising=False)
    model = tmp_path / "model"
    shutil.copytree(BUNDLED / "3", model)
    config = (model / "config.json").read_text()
    (model / "circuit.json").write_text("{}")
    for text, message in (
        (config.replace('"case": "3"', '"case": "mine"'), "to INTERPBENCH_CASES"),
        (config, "circuit.json"),
    ):
        (model / "config.json").write_text(text)
        with pytest.raises(SystemExit) as exit_info:
            main(["benchmark", "--models", str(model), "--out", str(tmp_path / "out")])
        assert exit_info.value.code == 2
        assert message in capsys.readouterr().err
        assert not (tmp_path / "out").exists()


def test_ctrl_c_is_one_line_and_exits_without_cleaning_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """XLA's threads may still be computing: otherwise two of four interruptions segfaulted."""

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    class Ended(BaseException):
        pass

    def end(status: int) -> None:
        raise Ended(status)

    monkeypatch.setattr("interpbench_jax.benchmark.execution._do", interrupted)
    monkeypatch.setattr("os._exit", end)
    handler = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(Ended, match="130"):
            main(["benchmark", *FEW, "--out", str(tmp_path)])
    finally:
        signal.signal(signal.SIGINT, handler)
    error = capsys.readouterr().err
    assert error == ("interpbench: interrupted: run the same command again to continue\n")
    assert not Store(tmp_path).status()


@pytest.mark.slow
def test_an_interruption_that_a_callback_swallows_is_raised_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As JAX's callback in garbage collection did, after which the benchmark continued."""

    class Swallows:
        def __del__(self) -> None:
            raise KeyboardInterrupt

    def report(results: str) -> None:
        Swallows()
        time.sleep(10)
        pytest.fail("not interrupted")

    def end(interruption: KeyboardInterrupt) -> None:
        raise ChildProcessError("ended")

    monkeypatch.setattr("interpbench_jax.cli._load", lambda name: report)
    monkeypatch.setattr("interpbench_jax.cli._leave", end)
    hook = sys.unraisablehook
    with pytest.raises(ChildProcessError, match="ended"):
        main(["report", "--results", "x"])
    assert sys.unraisablehook is hook


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "results"),
        pl.exceptions.ComputeError("parquet: IO error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_one_line(
    error: Exception,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("interpbench_jax.benchmark.execution._do", full)
    monkeypatch.setattr("polars.DataFrame.write_parquet", full)
    with pytest.raises(SystemExit) as exit_info:
        main(["benchmark", *FEW, "--out", str(tmp_path)])
    assert exit_info.value.code == 1
    printed = capsys.readouterr().err
    assert "No space left on device" in printed
    assert len(printed.splitlines()) == 1
    assert not list((tmp_path / "runs").iterdir())


@pytest.mark.parametrize("command", ["benchmark", "report"])
def test_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main([command, "--help"])
    assert exit_info.value.code == 0
    assert "--out" in capsys.readouterr().out
