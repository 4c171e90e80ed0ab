"""The results that come with the package: complete, on its models, and the same in the docs."""

import json
from pathlib import Path

import pytest

from interpbench_jax.benchmark import PackedResults
from interpbench_jax.benchmark.packed_results import LEADERBOARD
from interpbench_jax.benchmark.plan import bundled_models
from interpbench_jax.benchmark.report.results import Results
from interpbench_jax.benchmark.report.tables import short_board
from interpbench_jax.discovery import METHODS
from interpbench_jax.zoo import below_bar, bundled_names
from interpbench_jax.zoo.store import BUNDLED

ROOT = Path(__file__).parent.parent.parent


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
