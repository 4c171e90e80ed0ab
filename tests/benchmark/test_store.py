"""Results appear whole or not at all, come back as they were, and merge by copying."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from interpbench_jax.benchmark import Store
from interpbench_jax.benchmark.store import schema


def row(name: str, **values: Any) -> dict[str, Any]:
    return {"id": name, "status": "done", "seed": 1, "edge_auroc": 0.5, **values}


def test_rows_come_back(tmp_path: Path) -> None:
    store = Store(tmp_path / "new")
    assert store.finished() == frozenset()
    infinite = [0.5, float("inf"), -1.0]
    store.write(row("b", scores=infinite, scores_shape=[1, 3]))
    store.write(row("a", status="failed", edge_auroc=None, error="no"))
    found = store.read()
    assert list(found.schema) == list(schema())
    assert found["id"].to_list() == ["a", "b"]
    assert found["scores"].to_list() == [None, infinite]
    assert found["edge_auroc"].to_list() == [None, 0.5]
    assert found["cpr"].to_list() == [None, None]
    assert store.finished() == {"a", "b"}
    assert store.failed() == {"a"}
    assert store.read(columns=("id", "seed")).columns == ["id", "seed"]


def test_a_second_result_replaces_the_first(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(row("a", status="failed"))
    store.write(row("a"))
    assert store.failed() == frozenset()
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


def test_what_a_killed_process_left_is_no_result(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(row("a"))
    (tmp_path / "runs" / ".123.abc.parquet").write_bytes(b"PAR1 half")
    assert store.finished() == {"a"}
    assert len(store.read()) == 1


def test_directories_merge_by_copying(tmp_path: Path) -> None:
    for place in "01":
        Store(tmp_path / place).write(row(f"run{place}"))
    shutil.copytree(tmp_path / "0", tmp_path / "all")
    shutil.copytree(tmp_path / "1", tmp_path / "all", dirs_exist_ok=True)
    assert Store(tmp_path / "all").finished() == {"run0", "run1"}


def test_results_of_an_older_version_are_read(tmp_path: Path) -> None:
    """Fewer columns, and one that is gone."""
    import polars as pl

    store = Store(tmp_path)
    store.write(row("new", cpr=0.25))
    pl.DataFrame({"id": ["old"], "edge_auroc": [0.75], "gone": [1]}).write_parquet(
        tmp_path / "runs" / "old.parquet"
    )
    found = store.read()
    assert found["edge_auroc"].to_list() == [0.5, 0.75]
    assert found["cpr"].to_list() == [0.25, None]


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(ValueError, match="no results in"):
        store.read()
    for name in "abc":
        store.write(row(name))
    (tmp_path / "runs" / "b.parquet").write_bytes(b"PAR1 broken")
    with pytest.raises(ValueError, match=r"b\.parquet cannot be read"):
        store.read()


def test_unknown_columns_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no columns \['colour'\]"):
        Store(tmp_path).write(row("a", colour="red"))


def test_models_are_written_once(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write_model("m", {"case": "3"})
    store.write_model("m", {"case": "4"})
    assert store.read_model("m") == {"case": "3"}
    with pytest.raises(ValueError, match=r"other\.json cannot be read"):
        store.read_model("other")
