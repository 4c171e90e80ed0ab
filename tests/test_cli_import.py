"""`interpbench import` and `verify`: imported models are used like any other."""

import json
import shutil
from pathlib import Path

import pytest

from interpbench_jax.benchmark.plan import ModelSource, stored_models
from interpbench_jax.cli import main
from interpbench_jax.cli.paper import _paper_models
from interpbench_jax.zoo import load_model
from tests.golden_files import GOLDEN

PUBLISHED = GOLDEN / "published_format"


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("imported") / "models"
    main(["import", *(str(PUBLISHED / case) for case in ("3", "13")), "--out", str(out)])
    return out


def test_imported_models_are_verified(imported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    places = [str(imported / case) for case in ("3", "13")]
    main(["verify", *places])
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        f"{places[0]}: a model of 3 in format 1, 3817 weights, 5 edges in its circuit; "
        "checksums match",
        f"{places[1]}: a model of 13 in format 1, 10323 weights, 6 edges in its circuit; "
        "checksums match",
    ]
    main(["verify", "3", "--json"])
    (row,) = json.loads(capsys.readouterr().out)
    assert row["format"] == 0 and row["has_checksums"]


def test_the_published_circuit_can_be_used(tmp_path: Path) -> None:
    main(["import", str(PUBLISHED / "13"), "--truth", "published", "--out", str(tmp_path)])
    assert ("input", "m0") not in load_model(tmp_path / "13").circuit


def test_imported_models_are_found_by_plans(imported: Path) -> None:
    sources = _paper_models([imported], ())
    assert [source.case for source in sources] == ["13", "3"]
    assert [source.case for source in _paper_models([imported], ("3",))] == ["3"]
    assert sources == stored_models([imported], ())
    assert isinstance(sources[0], ModelSource)


def test_the_paper_needs_one_model_of_each_case(imported: Path) -> None:
    with pytest.raises(ValueError, match="2 of the models .* are of case '3', expected one"):
        _paper_models([imported, imported / "3"], ())
    with pytest.raises(ValueError, match="0 of the models .* are of case '8', expected one"):
        _paper_models([imported], ("8",))
    assert len(_paper_models((), ())) == 16


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["import"], "give at least one model"),
        (["import", "nowhere"], "no directory nowhere"),
        (["import", "a", "b", "--case", "3"], "--case 3 is for one model, got 2"),
        (["import", "a", "--revision", "main"], "--revision main is for models of the Hub"),
        (["import", "hub:../3"], "'../3' cannot name a directory"),
        (["import", "a/3", "hub:3"], "a/3 and hub:3 would both be written to"),
        (["verify"], "give at least one model"),
        (["verify", "nowhere"], "no model 'nowhere'"),
        (["paper", "--models", "x", "--experiments", "sweep"], "--models repeats auroc only"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(arguments)
    assert exit_info.value.code == 2
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1


def test_directories_without_a_model_are_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "3").mkdir()
    (tmp_path / "3" / "thesis.tex").write_text("...")
    with pytest.raises(SystemExit):
        main(["import", str(PUBLISHED / "3"), "--out", str(tmp_path)])
    assert (tmp_path / "3" / "thesis.tex").exists()


def test_verify_names_damaged_files(
    imported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(imported / "3", tmp_path / "3")
    weights = tmp_path / "3" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(SystemExit) as exit_info:
        main(["verify", str(tmp_path / "3")])
    assert exit_info.value.code == 2
    assert f"{weights} does not match its checksum" in capsys.readouterr().err


@pytest.mark.slow
def test_an_imported_model_is_evaluated_discovered_and_benchmarked(
    imported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = str(imported / "3")
    few = ["--n-pairs", "200"]
    small = ["--n-interventions", "8", "--n-runs", "2000", "--n-sets", "20", "--edge-runs", "2000"]
    main(["evaluate", model, *few, *small, "--json"])
    (row,) = json.loads(capsys.readouterr().out)
    assert row["metrics"]["accuracy"] == row["metrics"]["iia"] == 1
    main(["audit", model, *few, "--n-sets", "20", "--n-runs", "2000", "--json"])
    assert json.loads(capsys.readouterr().out)
    main(["discover", model, "--methods", "eap", "--out", str(tmp_path / "found")])
    out = str(tmp_path / "benchmark")
    main(["benchmark", "--models", model, "--methods", "eap", "--n-inputs", "50", "--out", out])
    main(["report", out])
    assert list((tmp_path / "benchmark").rglob("index.html"))
