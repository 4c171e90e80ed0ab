"""A store in one file: the same results, and nothing else is read as results."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from interpbench_jax.benchmark import Store, write_report
from interpbench_jax.benchmark.packed_results import PackedResults, pack_results
from interpbench_jax.benchmark.report.results import Results
from interpbench_jax.benchmark.report.tables import leaderboard, runs
from tests.benchmark.made_up import fill


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("results"))
    fill(store, ["3", "13", "7"], ["good", "fair"], seeds=(0, 1), fail="fair")
    return store


@pytest.fixture(scope="module")
def file(store: Store) -> Path:
    pack_results(store, store.directory / "all.parquet")
    return store.directory / "all.parquet"


def test_everything_comes_back(store: Store, file: Path) -> None:
    packed = PackedResults(file)
    assert packed.read().equals(store.read())
    assert packed.read(("id", "seed")).equals(store.read(("id", "seed")))
    for case in ("3", "13", "7"):
        assert packed.read_model(f"model{case}") == store.read_model(f"model{case}")
    with pytest.raises(ValueError, match=r"all\.parquet, model other: there are no facts"):
        packed.read_model("other")
    assert not packed.unreadable()


def test_the_report_is_the_same_except_for_the_source(store: Store, file: Path) -> None:
    ours, theirs = Results(store), Results(PackedResults(file))
    assert leaderboard(ours) == leaderboard(theirs)
    assert runs(ours) == runs(theirs)
    page = write_report(PackedResults(file), store.directory / "report").read_text()
    assert "a row of <code>all.parquet</code>, or a mean" in page


def test_other_results_are_added_for_the_same_models(file: Path, tmp_path: Path) -> None:
    mine = Store(tmp_path)
    fill(mine, ["3", "13", "100"], ["mine:best"])
    results = Results(mine, PackedResults(file))
    assert results.models == ("3", "13", "100")  # not 7
    assert sorted(results.entrants) == ["fair, leaderboard", "good, leaderboard", "mine:best"]
    rows = {row["entrant"]: row for row in leaderboard(results) if row["kind"] == "attention"}
    # A result on 3 is missing, and 100 is not in the file: 13 is left.
    assert rows["good, leaderboard"]["cases"] == rows["mine:best"]["cases"] == 1
    page = write_report(mine, tmp_path / "report", beside=PackedResults(file)).read_text()
    assert "or of <code>all.parquet</code>, which comes with the package, or a mean" in page


def test_results_that_were_added_are_not_mixed_with_own_ones(store: Store, file: Path) -> None:
    """Not even if they are the same runs, on models of other names."""
    renamed = Store(store.directory / "renamed")
    for row in store.read().iter_rows(named=True):
        renamed.write(row | {"model": f"models/{row['model']}"})
    for case in ("3", "13", "7"):
        renamed.write_model(f"model{case}", store.read_model(f"model{case}"))
    results = Results(renamed, PackedResults(file))
    assert results.models == ("models/3", "models/7", "models/13")
    assert set(results.entrants) == {"good", "fair", "good, leaderboard", "fair, leaderboard"}
    table = results.table("edge_auroc", results.models)
    by_name = dict(zip(results.entrants, table.T, strict=True))
    np.testing.assert_array_equal(by_name["good"], by_name["good, leaderboard"])
    assert results.n_superseded == 0


def test_newer_results_renew_a_file(file: Path, tmp_path: Path) -> None:
    """A method that changed, a new method, and a model that was trained again."""
    older = PackedResults(file)
    changed = Store(tmp_path)
    for row in older.read().filter(method="good", model="13").iter_rows(named=True):
        later = {"id": f"{row['id']}-later", "started": "2027-01-01T00:00:00+00:00"}
        changed.write(row | later | {"edge_auroc": 0.5})
    changed.write_model("model13", older.read_model("model13"))
    fill(changed, ["3"], ["new"])
    (retrained,) = older.read().filter(method="good", model="7", seed=0).iter_rows(named=True)
    later = {"id": "again", "model_id": "again", "started": "2027-01-01T00:00:00+00:00"}
    changed.write(retrained | later)
    changed.write_model("again", older.read_model("model7"))
    pack_results(changed, tmp_path / "new.parquet", older)
    renewed = PackedResults(tmp_path / "new.parquet")
    rows = renewed.read()
    assert rows.filter(method="good", model="13")["edge_auroc"].to_list() == [0.5, 0.5]
    assert rows.filter(model="7")["id"].to_list() == ["again"]
    kept = older.read().filter(pl.col("model").is_in(["3", "13"]))
    kept = kept.filter((pl.col("method") != "good") | (pl.col("model") != "13"))
    same = rows.filter(pl.col("id").is_in(kept["id"].implode()))
    assert same.equals(kept)
    assert set(rows["method"]) == {"good", "fair", "new"}
    assert len(rows) == len(kept) + 4
    for model in ("model3", "model13", "again"):
        assert renewed.read_model(model)["title"]


def test_a_failure_does_not_displace_a_result(file: Path, tmp_path: Path) -> None:
    older = PackedResults(file)
    (done,) = older.read().filter(method="good", model="13", seed=0).iter_rows(named=True)
    later = {"id": "later", "environment": "another", "started": "2027-01-01T00:00:00+00:00"}
    failed = {"status": "failed", "error": "MemoryError", "edge_auroc": None}
    store = Store(tmp_path)
    store.write(done | later | failed)
    pack_results(store, tmp_path / "new.parquet", older)
    rows = PackedResults(tmp_path / "new.parquet").read()
    assert rows.filter(id=done["id"]).equals(older.read().filter(id=done["id"]))
    assert "later" not in rows["id"]


def test_a_model_of_the_store_replaces_another_one_of_its_name(file: Path, tmp_path: Path) -> None:
    """Even if its results look older, as those of another machine may."""
    older, store = PackedResults(file), Store(tmp_path)
    (row,) = older.read().filter(method="good", model="7", seed=0).iter_rows(named=True)
    early = {"id": "again", "model_id": "again", "started": "2001-01-01T00:00:00+00:00"}
    store.write(row | early)
    store.write_model("again", older.read_model("model7"))
    pack_results(store, tmp_path / "new.parquet", older)
    rows = PackedResults(tmp_path / "new.parquet").read()
    assert rows.filter(model="7")["id"].to_list() == ["again"]
    assert set(rows["model"]) == {"3", "7", "13"}


def test_a_run_without_a_model_is_packed(tmp_path: Path) -> None:
    """It failed before the facts about its model were known."""
    store = Store(tmp_path)
    fill(store, ["3"], ["good"])
    failed = {"id": "x", "status": "failed", "model_id": "unknown", "error": "ValueError: no"}
    described = {"model": "4", "method": "good", "ablation": "zero", "seed": 0, "n_inputs": 1}
    store.write(failed | described)
    pack_results(store, tmp_path / "all.parquet")
    assert Results(PackedResults(tmp_path / "all.parquet")).failed["id"].to_list() == ["x"]


def test_what_cannot_be_packed(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    with pytest.raises(ValueError, match="no results in .*store"):
        pack_results(store, tmp_path / "x.parquet")
    fill(store, ["3"], ["good"])
    (store.directory / "models" / "model3.json").unlink()
    with pytest.raises(ValueError, match="model3.json is missing"):
        pack_results(store, tmp_path / "x.parquet")
    assert not (tmp_path / "x.parquet").exists()


def test_other_files_are_refused(store: Store, file: Path, tmp_path: Path) -> None:
    rows = pl.read_parquet(file)
    for name, wrong, message in (
        ("twice", pl.concat([rows, rows]), "does not hold results of runs"),
        ("empty", rows.clear(), "does not hold results of runs"),
        ("unnamed", rows.with_columns(method=pl.lit(None, pl.String())), "does not hold results"),
        ("text", rows.with_columns(pl.col("seed").cast(pl.String())), "cannot be read"),
    ):
        wrong.write_parquet(tmp_path / f"{name}.parquet")
        with pytest.raises(ValueError, match=rf"{name}\.parquet {message}"):
            PackedResults(tmp_path / f"{name}.parquet")
    (tmp_path / "noise.parquet").write_bytes(b"PAR1 broken")
    for missing in ("noise", "nowhere"):
        with pytest.raises(ValueError, match=rf"{missing}\.parquet cannot be read"):
            PackedResults(tmp_path / f"{missing}.parquet")
    rows.with_columns(facts=pl.lit("{}")).write_parquet(tmp_path / "facts.parquet")
    with pytest.raises(ValueError, match="model3 does not describe a model: no str 'title'"):
        PackedResults(tmp_path / "facts.parquet").read_model("model3")
