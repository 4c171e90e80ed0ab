"""The results that come with the package: complete, on its models, and the same in the docs."""

import inspect
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from interpbench_jax.benchmark import PackedResults, Store
from interpbench_jax.benchmark.packed_results import LEADERBOARD
from interpbench_jax.benchmark.plan import bundled_models
from interpbench_jax.benchmark.report.results import Results
from interpbench_jax.benchmark.report.tables import short_board
from interpbench_jax.cli import main
from interpbench_jax.discovery import METHODS
from interpbench_jax.zoo import below_bar, bundled_names
from interpbench_jax.zoo.store import BUNDLED

ROOT = Path(__file__).parent.parent.parent
QUICK = ("gim", "information_flow_routes", "weight_magnitude")


@pytest.fixture(scope="module")
def results() -> Results:
    return Results(PackedResults(LEADERBOARD))


def test_every_method_has_a_result_on_every_model_that_meets_the_bar(results: Results) -> None:
    cards = {
        name: json.loads((BUNDLED / name / "card.json").read_text()) for name in bundled_names()
    }
    at_bar = {name for name, card in cards.items() if not below_bar(card["metrics"])}
    assert set(results.models) == at_bar
    assert set(results.entrants) == set(METHODS)
    assert len(results.done) == len(at_bar) * len(METHODS)
    assert len(results.failed) == 0 and not results.unreadable
    runs = results.done.select("ablation", "seed", "n_inputs").unique().rows()
    assert runs == [("resample", 0, 200)]


def test_the_models_are_those_in_the_package(results: Results) -> None:
    """A model that is trained again needs new runs: see CONTRIBUTING.md."""
    recorded = dict(results.done.select("model", "model_id").iter_rows())
    assert recorded == {m.name: m.fingerprint for m in bundled_models(sorted(recorded))}


def test_the_docs_have_its_tables(results: Results) -> None:
    page = (ROOT / "docs" / "leaderboard.md").read_text()
    tables = short_board(results).split("## ")[1:]
    assert len(tables) == 3
    for table in tables:
        assert f"## {table.strip()}\n" in page
    with_attention = tables[0].partition("\n\n")[2].strip()
    assert with_attention + "\n" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize(
    ("model", "methods"),
    [
        ("3", QUICK),
        pytest.param("3", ("all",), marks=pytest.mark.slow),
        pytest.param("13", ("all",), marks=pytest.mark.slow),
    ],
)
def test_this_version_of_the_code_gets_the_same_results(
    results: Results, model: str, methods: Sequence[str], tmp_path: Path
) -> None:
    """Results of an older version stay in the file only as long as they do not change.

    Learnt masks add rounding up over hundreds of steps, so only their ranking is compared.
    """
    run = ["benchmark", "--cases", model, "--methods", *methods, "--n-inputs", "200"]
    main([*run, "--out", str(tmp_path)])
    found = list(Store(tmp_path).read().iter_rows(named=True))
    assert len(found) == len(METHODS if "all" in methods else methods)
    for row in found:
        shipped = results.done.filter(model=model, method=row["method"]).row(0, named=True)
        assert row["model_id"] == shipped["model_id"]
        if "learning" not in inspect.signature(METHODS[row["method"]]).parameters:
            theirs = np.array(shipped["scores"])
            largest = np.abs(theirs[np.isfinite(theirs)]).max()
            np.testing.assert_allclose(
                row["scores"], theirs, atol=1e-3 * largest, err_msg=row["method"]
            )
        for score in ("edge_auroc", "edge_ap", "node_auroc", "cpr"):
            assert row[score] == pytest.approx(shipped[score], abs=1e-3), (row["method"], score)
