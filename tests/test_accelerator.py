"""The benchmark of accelerators, run in small on a CPU."""

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import interpbench_jax as ib
from interpbench_jax.zoo import Recipe

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
RATE = {"members": 32, "compile_s": 2.0, "batches_per_s": 60.0}


@pytest.fixture
def accelerator(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("accelerator")


def results(file: Path) -> dict[str, dict]:
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert len({line["name"] for line in lines}) == len(lines)
    return {line.pop("name"): line for line in lines}


def test_two_parts_and_stored_results_are_not_measured_again(
    accelerator: ModuleType,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "results.jsonl"
    models = {name: ib.load_model(name) for name in ("13", "8", "20")}
    recipes = tuple(Recipe(name=name) for name in models)
    monkeypatch.setattr(accelerator, "read_recipes", {"suite": recipes}.get)
    stored = {"rate edge-siit 32": RATE, "many edge_probing 3": {"ratio": 5.0}}
    file.write_text("".join(json.dumps({"name": n} | found) + "\n" for n, found in stored.items()))
    assert accelerator.main(file, parts=("many", "estimate"), small=True) == 0
    found = results(file)
    assert found.keys() == stored.keys() | {"many acdc 3", "estimate"}
    assert found["many acdc 3"]["ratio"] > 0 and found["many acdc 3"]["n"] == 2
    # Cases 8 and 20 share a shape; all have two layers, like the model whose rate is known.
    of_13, of_8, of_20 = (model.card["batches"] for model in models.values())
    assert {model.config.n_layers for model in models.values()} == {2}
    estimate = found["estimate"]
    assert (estimate["models"], estimate["shapes"], estimate["compile_s"]) == (3, 2, 4)
    assert estimate["train_s"] == round((of_13 + max(of_8, of_20)) / 60)
    assert capsys.readouterr().out.splitlines()[-1].startswith("estimate")
    before = file.read_text()
    accelerator.main(file, parts=("many", "estimate"), small=True)
    assert file.read_text() == before


def test_an_error_is_printed_and_not_kept(
    accelerator: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = accelerator.Record(tmp_path / "results.jsonl")

    def fail() -> dict:
        raise ValueError("out of memory")

    record.add("rate", fail)
    assert "rate: ValueError: out of memory" in capsys.readouterr().out
    assert not record.file.exists() and record.failed == ["rate"]


def test_a_failed_measurement_is_the_exit_status(
    accelerator: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        accelerator, "many", lambda record, _: record.add("many", lambda: {"ratio": 1 / 0})
    )
    assert accelerator.main(tmp_path / "results.jsonl", parts=("many",)) == 1


def test_nothing_is_begun_without_time(
    accelerator: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "results.jsonl"
    accelerator.main(file, parts=("parity", "rates", "many", "group"), small=True, seconds=0)
    assert capsys.readouterr().out.count("no time left; the same command measures it") == 3
    assert not file.exists()


@pytest.mark.slow
def test_a_group_goes_on_where_its_time_was_over(
    accelerator: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["8", "20"]
    monkeypatch.setattr(accelerator, "largest_group", lambda *_: names)
    sizes = accelerator._SMALL  # two rounds
    file, whole = tmp_path / "results.jsonl", tmp_path / "whole.jsonl"
    accelerator.group(accelerator.Record(whole), sizes)
    (expected,) = results(whole).values()
    assert expected["batches"] == 4 and "unfinished" not in expected

    record = accelerator.Record(file)

    def late(*_: object) -> list[str]:
        record.until = 0.0
        return names

    with monkeypatch.context() as patched:
        patched.setattr(accelerator, "largest_group", late)
        accelerator.group(record, sizes)
    (first,) = results(file).values()
    assert first["batches"] == 2 and first["unfinished"] == 2
    accelerator.group(accelerator.Record(file), sizes)
    second = [json.loads(line) for line in file.read_text().splitlines()][-1]
    assert "unfinished" not in second
    same = ("cases", "batches", "reached", "batches_to_threshold", "worst")
    assert {name: second[name] for name in same} == {name: expected[name] for name in same}
    assert second["train_s"] > first["train_s"]


@pytest.mark.slow
def test_all_parts_as_a_program(tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    command = [sys.executable, str(BENCHMARKS / "accelerator.py"), "--small", "--out", str(file)]
    subprocess.run(command, check=True, capture_output=True)
    found = results(file)
    assert len(found) == 9
    assert found["parity 3"]["logits"] == 0  # the device is the CPU itself
    assert found["group"]["cases"] == 2
