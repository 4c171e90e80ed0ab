"""Small runs of the paper's experiments, and their page."""

import numpy as np
import polars as pl
import pytest
from scipy import stats

from interpbench_jax.benchmark.paper import (
    METHODS,
    auroc_rows,
    auroc_statistics,
    effect_rows,
    published,
    realism_rows,
    weight_divergences,
    write_page,
)
from interpbench_jax.benchmark.paper.weights import histograms
from interpbench_jax.cli.paper import _made


def as_published():
    """Results as if our models gave the paper's numbers."""
    paper = published()
    return pl.DataFrame(
        [
            {"case": case, "method": method, "staircase": float(x), "edge_auroc": float(x)}
            for case, values in zip(paper["cases"], paper["auroc"], strict=True)
            for method, x in zip(paper["methods"], values, strict=True)
        ]
    )


def test_results_are_shown_next_to_the_published():
    rows = auroc_rows(as_published())
    assert len(rows) == 16 * len(METHODS)
    assert all(row["staircase"] == row["published"] for row in rows)


def test_statistics_of_the_published_table():
    found = {
        (c.first, c.second): c for c in auroc_statistics(auroc_rows(as_published()), "ranking")
    }
    for pair in published()["pairs"]:
        assert found[pair["first"], pair["second"]].a12 == pytest.approx(pair["a12"], abs=0.003)


def test_runs_that_failed_are_left_out():
    results = as_published().with_columns(
        edge_auroc=pl.when(pl.col("case") == "3").then(None).otherwise(pl.col("edge_auroc"))
    )
    rows = auroc_rows(results)
    assert {row["case"] for row in rows} == set(published()["cases"]) - {"3"}


def test_nodes_outside_the_circuit_matter_in_the_iit_model_only():
    tracr, iit, siit = effect_rows("3", n_pairs=500)
    assert [row["model"] for row in (tracr, iit, siit)] == ["tracr", "iit", "siit"]
    assert max(iit["outside"]) > 0.1
    assert max(siit["outside"]) < 0.01
    assert max(tracr["outside"]) == 0
    assert min(siit["inside"]) > 0.9
    assert iit["circuit_accuracy"] < 0.9 < siit["circuit_accuracy"]


def test_histograms_by_hand():
    counts = histograms({"natural": np.array([0.0, 1.0]), "siit": np.ones(1), "tracr": np.ones(3)})
    assert counts["natural"][0] == counts["natural"][-1] == 2
    assert counts["tracr"][-1] == 4
    assert counts["siit"].sum() == 201


def test_weights_of_compiled_models_are_the_farthest():
    found = weight_divergences(["3"])
    assert found["natural-siit"] < min(found["natural-tracr"], found["siit-tracr"])


@pytest.mark.slow
def test_acdc_behaves_on_a_siit_model_as_on_a_natural_one():
    rows = {row["model"]: row for row in realism_rows("13", n_inputs=300)}
    assert rows["natural"]["correlation"] == pytest.approx(1)
    assert rows["siit"]["correlation"] > 0.9 > 0.7 > rows["tracr"]["correlation"]
    for row in rows.values():
        both = row["accuracies"], rows["natural"]["accuracies"]
        assert row["correlation"] == pytest.approx(stats.pearsonr(*both).statistic)


def test_the_page_shows_ours_and_theirs(tmp_path):
    rows = auroc_rows(as_published())
    effects = [
        {"case": "3", "model": "tracr", "inside": [1.0], "outside": [0.0, 0.25]},
        {"case": "3", "model": "siit", "inside": [1.0], "outside": [0.0], "circuit_accuracy": 0.5},
    ]
    realism = [
        {"case": "3", "model": name, "accuracies": [0.0, 1.0], "correlation": value}
        for name, value in (("siit", 0.9), ("siit", None), ("tracr", None))
    ]
    sweep = {"case": "3", "strict_weight": 0.4, "seed": 1}
    sweep |= dict.fromkeys(["accuracy", "iia_worst", "siia_worst", "leakage", "leakage_worst"], 0.5)
    found: dict = {"auroc": rows, "effects": effects, "realism": realism, "sweep": [sweep]}
    found["weights"] = {"natural-tracr": 1.0}
    write_page(found, tmp_path / "paper.md")
    text = (tmp_path / "paper.md").read_text()
    for cell in ("0.877 (0.877) [0.877]", "0.125, 0.250", "0.900 | 0.924 | 1 of 2", "8.0", "0.4 |"):
        assert cell in text


def test_results_of_the_same_models_are_not_computed_again(tmp_path):
    made_of = []

    def make(cases):
        made_of.append(cases)
        return len(made_of)

    file = tmp_path / "sweep" / "3.json"
    assert [_made(file, make, ("3",)) for _ in range(2)] == [1, 1]
    assert _made(file, make, ("3", "13")) == 2
    assert made_of == [("3",), ("3", "13")]


def test_results_of_other_code_or_damaged_ones_are_computed_again(tmp_path, monkeypatch):
    """NaN is the same in computed and in stored results."""
    file, values = tmp_path / "3.json", iter((1.0, 2.0, float("nan")))

    def make(cases):
        return [next(values)]

    assert _made(file, make, ("3",)) == [1.0]
    monkeypatch.setattr("interpbench_jax.cli.paper.environment", lambda: "other code")
    assert _made(file, make, ("3",)) == [2.0]
    file.write_text('{"found": ')
    assert [_made(file, make, ("3",)) for _ in range(2)] == [[None], [None]]
