"""`interpbench benchmark` and `report`, in process; and killed, in a process of its own."""

from pathlib import Path

import pytest

from interpbench_jax.benchmark import Store
from interpbench_jax.cli import main

FEW = ["--cases", "3", "--methods", "eap", "--n-inputs", "40"]


def test_plan_run_and_run_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["benchmark", *FEW, "--seeds", "0", "1", "--out", str(tmp_path)]
    main([*arguments, "--dry-run"])
    out = capsys.readouterr().out
    assert "2 runs: 1 model (3) x 1 method (eap) x 1 ablation (resample) x 2 seeds (0, 1)" in out
    assert "0 done, 2 to do, in 1 compile groups" in out
    assert not Store(tmp_path).finished()

    main([*arguments, "--share", "1/2"])
    assert "share 1/2: 1 runs" in capsys.readouterr().out
    (first,) = Store(tmp_path).finished()
    before = (tmp_path / "runs" / f"{first}.parquet").stat().st_mtime_ns

    main(arguments)
    out = capsys.readouterr().out
    assert "1 done, 1 to do" in out
    assert "2 of 2 runs have a result, 0 of them an error" in out
    assert (tmp_path / "runs" / f"{first}.parquet").stat().st_mtime_ns == before


def test_failures_are_shown_and_can_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "failing_method.py").write_text("def find(*_):\n    raise OSError('disk full')")
    arguments = ["benchmark", "--cases", "3", "--methods", "failing_method:find", "--out", "out"]
    for again, expected in (([], "1 to do"), ([], "0 to do"), (["--retry-failed"], "1 to do")):
        main([*arguments, *again])
        out = capsys.readouterr().out
        assert expected in out
        assert "OSError: disk full" in out
        assert "1 of 1 runs have a result, 1 of them an error" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["benchmark", "--cases", "0"], "no bundled model of case '0'"),
        (["benchmark", "--methods", "guess"], "unknown method 'guess'; known: eap"),
        (["benchmark", "--methods", "nowhere:find"], "there is no module 'nowhere'"),
        (["benchmark", "--share", "2/2"], "a share is 0/4"),
        (["benchmark", "--n-inputs", "0"], "n_inputs must be at least 1, got 0"),
        (["benchmark", "--models", "nowhere"], "no model in nowhere"),
        (["benchmark", "--models", ".", "--compiled"], "exclude one another"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as exit_info:
        main([*arguments, *more])
    assert exit_info.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["benchmark"])
def test_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main([command, "--help"])
    assert exit_info.value.code == 0
    assert "--out" in capsys.readouterr().out
