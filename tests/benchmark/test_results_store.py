"""Results are written atomically, read back unchanged, and merged by copying."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from interpbench_jax.benchmark import Store
from interpbench_jax.benchmark.results_store import schema


def row(name: str, **values: Any) -> dict[str, Any]:
    described = {"model": "3", "model_id": "f", "method": "eap", "ablation": "zero", "n_inputs": 10}
    return {"id": name, "status": "done", "seed": 1, "edge_auroc": 0.5, **described, **values}


def test_rows_come_back(tmp_path: Path) -> None:
    store = Store(tmp_path / "new")
    assert store.status() == {}
    infinite = [0.5, float("inf"), -1.0]
    store.write(row("b", scores=infinite, scores_shape=[1, 3]))
    store.write(row("a", status="failed", edge_auroc=None, error="no"))
    found = store.read()
    assert list(found.schema) == list(schema())
    assert found["id"].to_list() == ["a", "b"]
    assert found["scores"].to_list() == [None, infinite]
    assert found["edge_auroc"].to_list() == [None, 0.5]
    assert found["cpr"].to_list() == [None, None]
    assert store.status() == {"a": "failed", "b": "done"}
    assert store.read(columns=("id", "seed")).columns == ["id", "seed"]


def test_a_second_result_replaces_the_first(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(row("a", status="failed"))
    store.write(row("a"))
    assert store.status() == {"a": "done"}
    assert len(store.read()) == 1


def test_an_interrupted_write_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    store.write(row("a"))

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("polars.DataFrame.write_parquet", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.write(row("b"))
    assert {file.name for file in (tmp_path / "runs").iterdir()} == {"a.parquet"}


def test_partial_files_of_a_killed_process_are_ignored(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(row("a"))
    (tmp_path / "runs" / ".123.abc.parquet").write_bytes(b"PAR1 half")
    assert store.status().keys() == {"a"}
    assert len(store.read()) == 1


def test_directories_merge_by_copying(tmp_path: Path) -> None:
    for place in "01":
        Store(tmp_path / place).write(row(f"run{place}"))
    shutil.copytree(tmp_path / "0", tmp_path / "all")
    shutil.copytree(tmp_path / "1", tmp_path / "all", dirs_exist_ok=True)
    assert Store(tmp_path / "all").status().keys() == {"run0", "run1"}


def test_results_of_an_older_version_are_read(tmp_path: Path) -> None:
    """They have fewer columns, and one that no longer exists."""
    import polars as pl

    store = Store(tmp_path)
    store.write(row("new", cpr=0.25))
    old = row("old", edge_auroc=0.75, gone=1)
    pl.DataFrame([old]).write_parquet(tmp_path / "runs" / "old.parquet")
    found = store.read()
    assert found["edge_auroc"].to_list() == [0.5, 0.75]
    assert found["cpr"].to_list() == [0.25, None]


def test_files_without_a_result_are_named_and_left_out(tmp_path: Path) -> None:
    """Damaged, of another kind or run, or with wrong types; all others are read."""
    import polars as pl

    store = Store(tmp_path)
    assert len(store.read()) == 0
    for name in ("a", "b", "c"):
        store.write(row(name))
    assert not store.unreadable()
    runs = tmp_path / "runs"
    (runs / "b.parquet").write_bytes(b"PAR1 broken")
    pl.DataFrame({"sepal": [1, 2]}).write_parquet(runs / "iris.parquet")
    pl.DataFrame([row("d", seed="one")]).write_parquet(runs / "d.parquet")
    shutil.copy(runs / "a.parquet", runs / "e.parquet")
    assert store.read(("id",))["id"].to_list() == ["a", "c"]
    assert store.status().keys() == {"a", "c"}  # so b is run again
    faults = store.unreadable()
    assert {file.name for file in faults} == {"b.parquet", "d.parquet", "e.parquet", "iris.parquet"}
    for file, fault in faults.items():
        assert fault.startswith(f"{file} ")
        assert len(fault.splitlines()) == 1
    for file in faults:
        file.unlink()
    assert not store.unreadable()


def test_unknown_columns_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no columns \['colour'\]"):
        Store(tmp_path).write(row("a", colour="red"))


def test_models_come_back_and_other_facts_are_refused(tmp_path: Path) -> None:
    store = Store(tmp_path)
    sizes = {"n_layers": 2, "n_heads": 4, "d_model": 12, "n_ctx": 5}
    kinds: dict[str, Any] = {"config": sizes, "variables": {}, "circuit": {}, "program": []}
    facts = {"title": "", "kind": "MLPs", "metrics": {"iia": float("nan")}, **kinds}
    store.write_model("m", facts)
    assert store.read_model("m") == facts | {"metrics": {"iia": None}}  # JSON has no NaN
    file = tmp_path / "models" / "m.json"
    for text, message in (
        ("{}", "m.json does not describe a model: no str 'title'"),
        ("[]", "m.json does not describe a model"),
        (json.dumps(facts | {"config": {}}).replace("NaN", "1"), "m.json .*no int 'n_layers'"),
        ("{", "m.json cannot be read"),
    ):
        file.write_text(text)
        with pytest.raises(ValueError, match=message):
            store.read_model("m")
    store.write_model("m", facts)
    assert store.read_model("m")["kind"] == "MLPs"
    with pytest.raises(ValueError, match=r"other\.json is missing"):
        store.read_model("other")
