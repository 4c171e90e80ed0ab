"""The page of the suite agrees with the cards, and the cards with the weights."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from interpbench_jax.benchmark.suite import (
    draw_suite,
    drawn_fingerprint,
    suite_page,
    suite_row,
    summary,
)
from interpbench_jax.cli import main
from interpbench_jax.cli.rescoring import differing
from interpbench_jax.siit import SiitConfig
from interpbench_jax.zoo import BAR, below_bar, bundled_names, load_model, read_recipes, score_again

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_in_the_docs_is_that_of_the_bundled_models() -> None:
    rows = [suite_row(load_model(name)) for name in bundled_names()]
    tried = {recipe.task: recipe.tried for recipe in read_recipes("suite")}
    assert (DOCS / "suite.md").read_text() == suite_page(rows, tried)
    assert drawn_fingerprint(rows).encode() in (DOCS / "suite.png").read_bytes()


def test_a_model_below_the_bar_is_listed_with_what_it_misses() -> None:
    model = load_model("3")
    metrics = model.card["metrics"] | {"edge_agreement_worst": 0.98999}
    where = {"weakest_edges": {"m0->a1.h2<v>": 0.5}, "weakest_edge_by_position": [None, 0.25]}
    where |= {"weakest_variables": {"m0": 0.75}, "compiled_wrongly": "9 becomes 8.56"}
    card = model.card | {"metrics": metrics, **where}
    row = suite_row(replace(model, card=card))
    assert summary([suite_row(model), row], ["3", "4"]) == (
        "1 of 2 models meet the bar. Those that do not: 3. Tasks without a model so far: 4."
    )
    page = suite_page([row], {"3": "Rate 0.1 diverges.", "4": ""})
    below, wrongly, tried = re.split("\n## ", page)[1:]
    assert "worst set 0.9899; weakest edges: `m0->a1.h2<v>` 0.5000; the first of these" in below
    assert "by position: -, 0.2500; weakest variables, by their nodes: `m0` 0.7500." in below
    assert wrongly.endswith("- **3**: 9 becomes 8.56\n")
    assert tried.endswith("- **3**: Rate 0.1 diverges.\n")


def test_missing_scores_and_nan_are_below_the_bar() -> None:
    at_it: dict[str, float | None] = dict(BAR)
    assert not below_bar(at_it)
    for name, share in BAR.items():
        assert below_bar(at_it | {name: share - 1e-6}).keys() == {name}
        assert below_bar(at_it | {name: None}) == {name: None}
        assert below_bar(at_it | {name: float("nan")}).keys() == {name}
        assert below_bar({key: value for key, value in at_it.items() if key != name}) == {
            name: None
        }


def test_scores_that_differ_from_the_card_are_reported() -> None:
    card = {"accuracy": 1.0, "iia": 0.9990, "siia": 0.9}
    assert not differing(card, {"accuracy": 1.0, "iia": 0.9995, "siia": 0.9, "more": 0.1})
    found = differing(card, {"accuracy": 0.99, "iia": 0.9990})
    assert found["accuracy"] == (1.0, 0.99) and found.keys() == {"accuracy", "siia"}


@pytest.mark.slow
@pytest.mark.usefixtures("all_edge_sets")
def test_weights_give_the_scores_of_their_card(capsys: pytest.CaptureFixture[str]) -> None:
    main(["evaluate", "--recipe", "suite", "8", "--json"])
    (row,) = json.loads(capsys.readouterr().out)
    assert row["differs"] == {} and row["metrics"].keys() >= BAR.keys()


def test_options_that_cards_do_not_have_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", "--recipe", "suite", "8", "--seed", "2"])
    assert ended.value.code == 2 and "can only be combined with" in capsys.readouterr().err


def test_weights_of_another_model_do_not_give_them() -> None:
    card = load_model("3").card
    found = score_again(load_model("natural/3"), SiitConfig()).metrics
    assert {"inert", "edge_agreement_worst"} <= differing(card["metrics"], found).keys()


def test_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    main(["suite", "--json"])
    rows = json.loads(capsys.readouterr().out)
    assert [row["task"] for row in rows] == list(bundled_names())
    with pytest.raises(SystemExit):
        main(["suite", "--models", "nowhere"])
    assert "no model in nowhere" in capsys.readouterr().err


def test_a_model_without_facts_about_its_training_is_listed(tmp_path: Path) -> None:
    model = load_model("3")
    row = suite_row(replace(model, card={}))
    assert (row.title, row.batches, row.minutes) == ("", None, None)
    assert "| - | - | - | - |" in suite_page([row], {})
    draw_suite([row, suite_row(model)], tmp_path / "suite.png")
    unknown = replace(model, card={"metrics": {"accuracy": None, "edge_agreement_worst": 1.0}})
    assert repr(unknown).endswith("edges, worst set of edges 1.0000)")
