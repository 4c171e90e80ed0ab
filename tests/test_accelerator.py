"""The benchmark of accelerators, run in small on a CPU."""

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

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
    accelerator: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "results.jsonl"
    stored = {"rate edge-siit 32": RATE, "many edge_probing 3": {"ratio": 5.0}}
    file.write_text("".join(json.dumps({"name": n} | found) + "\n" for n, found in stored.items()))
    accelerator.main(file, parts=("many", "estimate"), small=True)
    found = results(file)
    assert found.keys() == stored.keys() | {"many acdc 3", "estimate"}
    assert found["many acdc 3"]["ratio"] > 0 and found["many acdc 3"]["n"] == 2
    # 47 shapes with 139 layers in total; the rate is for two layers.
    assert found["estimate"]["compile_s"] == 139 and found["estimate"]["train_s"] == 100 * 69.5
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
    assert not record.file.exists()


@pytest.mark.slow
def test_all_parts_as_a_program(tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    command = [sys.executable, str(BENCHMARKS / "accelerator.py"), "--small", "--out", str(file)]
    subprocess.run(command, check=True, capture_output=True)
    found = results(file)
    assert len(found) == 9
    assert found["parity 3"]["logits"] == 0  # the device is the CPU itself
    assert found["group"]["cases"] == 2
