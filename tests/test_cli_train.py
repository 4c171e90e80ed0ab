"""`interpbench train`: sources of settings, output, and files."""

import dataclasses
import io
import json
import re
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

import pytest
import rich.console
import rich.progress

from interpbench_jax.cases import get_case
from interpbench_jax.cli import main, training_bar
from interpbench_jax.cli.dashboards import dashboard
from interpbench_jax.cli.settings import Overrides, population
from interpbench_jax.compiler import get_task
from interpbench_jax.siit import SiitConfig, preset
from interpbench_jax.zoo.metrics_file import MetricsFile, read_metrics
from interpbench_jax.zoo.progress import Progress

TINY = (
    *("--max-batches", "4", "--round-batches", "2", "--batch-size", "8"),
    *("--n-pairs", "2000", "--validation-pairs", "16"),
    *("--edge-rows", "512", "--checked-sets", "4", "--checked-pairs", "8"),
)


def test_every_setting_is_an_option() -> None:
    options = {field.name for field in dataclasses.fields(Overrides)}
    assert options == {field.name for field in dataclasses.fields(SiitConfig)}


def test_help_says_what_the_usual_preset_changes() -> None:
    from interpbench_jax.cli.train import train

    used, usual = preset("edge-siit", "13"), SiitConfig()
    names = {f.name for f in dataclasses.fields(SiitConfig)}
    changed = {name for name in names if getattr(used, name) != getattr(usual, name)}
    assert changed == {"patches", "batch_size", "threshold", "max_batches", "validation_pairs"}
    assert (
        f"sets patches {used.patches}, batch size {used.batch_size}, threshold {used.threshold}, "
        f"{used.max_batches:,} batches and {used.validation_pairs} validation pairs"
    ) in " ".join(str(train.__doc__).split())


def test_options_override_the_file_and_the_file_the_preset(tmp_path: Path) -> None:
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
        ("batch_size = [1, 2", "is not a readable TOML file"),
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


@pytest.mark.xdist_group("train case 3")
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
    main([*arguments, "--strict-weight", "0.5", "2", "--resume"])  # other members: trained again
    assert "did NOT reach" in capsys.readouterr().out


def test_everything_is_checked_before_any_work(tmp_path: Path, monkeypatch, capsys) -> None:
    """An interrupted run is not removed by a call with invalid options."""
    begun = tmp_path / "3.training" / "checkpoints"
    begun.mkdir(parents=True)
    (tmp_path / "7").mkdir()
    monkeypatch.setitem(sys.modules, "wandb", None)
    for arguments, message in (
        (["3", "--log", "wandb"], "logging to wandb needs"),
        (["7"], "7 exists and is not a model; will not replace it"),
        (["3", "--seeds", str(2**80)], r"a seed must be at least 0 and below 2\*\*32"),
        (["3", "--n-pairs", "2", "--held-out", "0.1"], "of 2 pairs leaves a part empty"),
        (["3", "--seeds", "-1"], r"a seed must be at least 0 and below 2\*\*32, got -1"),
        (["3", "--seeds", "0", "0"], "seed 0 is given twice"),
        (["3", "--strict-weight", "1", "1.0"], "strict_weight 1.0 is given twice"),
        (["3", "4", "3"], "case 3 is given twice"),
    ):
        with pytest.raises(SystemExit) as exit_info:
            main(["train", *arguments, "--out", str(tmp_path)])
        assert exit_info.value.code == 2
        assert re.search(message, capsys.readouterr().err)
    with pytest.raises(SystemExit):
        main(["train", "3", "--out", __file__])
    assert f"cannot write to {__file__}: " in capsys.readouterr().err
    assert begun.exists()


def test_directories_that_are_not_writable(tmp_path: Path, monkeypatch, capsys) -> None:
    call = ["train", "3", "--out", str(tmp_path)]
    (tmp_path / "3.training").touch()
    with pytest.raises(SystemExit) as exit_info:
        main(call)
    assert exit_info.value.code == 2
    message = "3.training exists and is not a directory; will not replace it"
    assert message in capsys.readouterr().err
    (tmp_path / "3.training").unlink()

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    with pytest.raises(SystemExit) as exit_info:
        main(call)
    assert exit_info.value.code == 2
    assert f"cannot write to {tmp_path}: Permission denied" in capsys.readouterr().err


@pytest.mark.slow
def test_cases_of_one_shape_train_together(tmp_path: Path, capsys, wandb_runs) -> None:
    """8 and 20 share a shape; each case gets its own directory, and is skipped by `--resume`."""
    call = ["train", "8", "20", "--together", *TINY, "--out", str(tmp_path), "--log", "wandb"]
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
    for run, name in zip(wandb_runs, ("8", "20"), strict=True):
        assert run.given["config"]["case"] == name
        assert [step for step, _ in run.logged] == [2, 4]
        assert run.finished


def test_lengths_are_checked_before_any_work(tmp_path: Path, capsys) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(["train", "8", "--min-length", "99", "--out", str(tmp_path / "none")])
    assert exit_info.value.code == 2
    assert "min_length must be between 1 and" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


PROGRESS = Progress(
    case="3",
    round=1,
    batches=250,
    batches_per_second=None,
    losses=[[1.0, 2.0, 3000.0]],
    loss=[6.0],
    accuracy=[0.5],
    iia=[0.25],
    siia=[float("nan")],
    edges=[1.0],
    done=[False],
    diverged=[False],
    leading=0,
)


class WandbRun:
    """Replaces a run of Weights & Biases, which needs an account."""

    def __init__(self, **given: Any) -> None:
        self.given = given
        self.logged: list[tuple[int, dict[str, float]]] = []
        self.finished = False

    def __enter__(self) -> "WandbRun":
        return self

    def __exit__(self, *_: object) -> None:
        self.finished = True

    def log(self, numbers: dict[str, float], step: int) -> None:
        assert not self.finished
        self.logged.append((step, numbers))


@pytest.fixture
def wandb_runs(monkeypatch) -> list[WandbRun]:
    """The started runs."""
    runs: list[WandbRun] = []

    def init(**given: Any) -> WandbRun:
        runs.append(WandbRun(**given))
        return runs[-1]

    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=init))
    return runs


def test_numbers_go_to_weights_and_biases(wandb_runs, tmp_path: Path) -> None:
    """A case's run ends before the next starts; numbers that are not finite are left out."""
    for case in ("3", "4"):
        assert all(run.finished for run in wandb_runs)
        with dashboard("wandb", case, {"case": case}, tmp_path) as listener:
            listener(PROGRESS._replace(case=case))
    for run, case in zip(wandb_runs, ("3", "4"), strict=True):
        assert run.given == {
            "project": "interpbench_jax",
            "name": f"case-{case}",
            "config": {"case": case},
            "reinit": "create_new",
        }
        ((step, numbers),) = run.logged
        assert step == 250
        assert numbers == {
            "member0/loss/behaviour": 1.0,
            "member0/loss/iit": 2.0,
            "member0/loss/strict": 3000.0,
            "member0/accuracy": 0.5,
            "member0/iia": 0.25,
        }
        assert run.finished


def test_the_error_for_a_missing_dashboard_names_the_package(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    missing = pytest.raises(ValueError, match="logging to wandb needs `pip install wandb`")
    with missing, dashboard("wandb", "3", {}, tmp_path):
        pass


def test_the_bar_fits_a_terminal_and_starts_at_the_resumed_round(monkeypatch) -> None:
    """Two lines of 80 columns: progress, and losses and scores."""
    screen = rich.console.Console(width=80, file=io.StringIO())
    monkeypatch.setattr(training_bar, "console", screen)
    config = SiitConfig(max_batches=100_000, round_batches=250)
    n_batches, n_rounds = config.n_rounds * 250, config.n_rounds
    drawn: list[str] = []
    start = rich.progress.Progress.start

    def draw(bar: rich.progress.Progress) -> None:
        with screen.capture() as capture:
            screen.print(bar.get_renderable())
        drawn.append(capture.get())

    def start_and_draw(bar: rich.progress.Progress) -> None:
        start(bar)
        bars.append(bar)

    bars: list[rich.progress.Progress] = []
    monkeypatch.setattr(rich.progress.Progress, "start", start_and_draw)
    with training_bar.training_bar(config, "case 129: compiling", begun=n_rounds - 2) as update:
        draw(bars[0])
        update(PROGRESS._replace(case="129", batches=n_batches - 250, batches_per_second=2000.0))
        draw(bars[0])
    before, after = drawn
    assert f"{n_batches - 500}/{n_batches}" in before and "0%" not in before
    assert f"{n_batches - 250}/{n_batches}, 2000/s" in after
    place, measured = after.rstrip().splitlines()
    assert place.startswith("case 129") and "━━━━━━━━━━" in place
    assert measured.strip() == (
        "behaviour 1.000 IIT 2.000 strict 3000.000 acc 0.500 IIA 0.250 SIIA nan"
    )


def test_unknown_numbers_become_null(tmp_path: Path) -> None:
    MetricsFile(tmp_path / "metrics.jsonl")(PROGRESS)
    assert json.loads((tmp_path / "metrics.jsonl").read_text())["siia"] == [None]


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "a/b", ".hidden", ".."])
def test_a_name_cannot_leave_the_directory(tmp_path: Path, name: str, capsys) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(["train", name, "--out", str(tmp_path / "out")])
    assert exit_info.value.code == 2
    assert f"unknown case {name!r}" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="a name must be a valid file name"):
        dataclasses.replace(get_case("3"), name=name)
    with pytest.raises(ValueError, match="a name must be a valid file name"):
        dataclasses.replace(get_task("ioi"), name=name)  # type: ignore[type-var]


@pytest.mark.parametrize("place", ["file", "file/deeper", "/proc/nothing"])
def test_output_directories_are_checked_first(tmp_path: Path, place: str, capsys) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as exit_info:
        main(["train", "3", "--out", str(tmp_path / place)])
    assert exit_info.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("interpbench: cannot write to") and len(error.splitlines()) == 1
