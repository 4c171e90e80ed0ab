"""Contents of a report on made-up results; `test_page.py` opens it in a browser."""

import csv
import itertools
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from markupsafe import escape

from interpbench_jax.benchmark import Store, write_report
from interpbench_jax.benchmark.draw import draw_comparison, edge_kinds
from interpbench_jax.benchmark.report.looks import look
from interpbench_jax.benchmark.report.results import Results
from interpbench_jax.benchmark.report.sections import anchor
from interpbench_jax.benchmark.report.tables import (
    comparisons,
    inputs_needed,
    leaderboard,
    short_board,
    to_csv,
    to_markdown,
)
from interpbench_jax.model import Circuit
from interpbench_jax.model.circuit_svg import circuit_svg, standing_alone
from tests.benchmark.made_up import GRAPH, fill

CASES = ["3", "13", "7", "4", "11", "20", "100"]  # attention 4, MLPs 2, one MLP 1
METHODS = ["good", "fair", "mine:poor"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("results"))
    fill(store, CASES, METHODS, seeds=(0, 1), fail="mine:poor")
    return store


@pytest.fixture(scope="module")
def results(store: Store) -> Results:
    return Results(store)


@pytest.fixture(scope="module")
def page(store: Store) -> Path:
    return write_report(store, store.directory / "report")


def test_seeds_are_averaged(results: Results) -> None:
    assert results.models == ("3", "4", "7", "11", "13", "20", "100")
    assert results.entrants == ("fair", "good", "mine:poor")
    table = results.table("edge_auroc", ["4"])
    of_fair = [row["edge_auroc"] for row in results.of_model("4") if row["entrant"] == "fair"]
    assert len(of_fair) == 2
    assert table[0, 0] == pytest.approx(np.mean(of_fair))
    assert np.isnan(results.table("edge_auroc", ["3"])[0, 2])  # it failed on this case


def test_kinds_are_separate(results: Results) -> None:
    assert results.models_of("attention") == ("3", "4", "13", "100")
    assert results.models_of("MLPs") == ("7", "20")
    assert results.models_of("one MLP") == ("11",)
    rows = leaderboard(results)
    assert [row["kind"] for row in rows] == ["attention"] * 3 + ["MLPs"] * 3 + ["one MLP"] * 3


def test_the_leaderboard_is_over_common_cases(results: Results) -> None:
    rows = leaderboard(results)[:3]
    assert [row["entrant"] for row in rows] == ["good", "fair", "mine:poor"]
    common = results.table("edge_auroc", ["4", "13", "100"])  # not 3, on which one failed
    for row in rows:
        assert row["cases"] == 3
        expected = common[:, results.entrants.index(row["entrant"])].mean()
        assert row["edge_auroc"] == pytest.approx(expected)
        assert row["best_rank"] <= row["rank"] <= row["worst_rank"]
        assert row["low"] <= row["edge_auroc"] <= row["high"]


def test_a_method_without_most_cases_is_not_ranked_and_removes_no_cases(tmp_path: Path) -> None:
    store = Store(tmp_path)
    fill(store, ["1", "2", "3", "4"], ["good", "fair"])
    fill(store, ["2"], ["late"])
    rows = leaderboard(Results(store))
    by_name = {row["entrant"]: row for row in rows if row["kind"] == "attention"}
    assert by_name["good"]["cases"] == by_name["fair"]["cases"] == 3
    assert by_name["late"]["rank"] is None
    assert by_name["late"]["cases"] == 1


def test_pairs_are_compared_by_kind(results: Results) -> None:
    rows = comparisons(results)
    pairs = [r for r in rows if (r["kind"], r["score"]) == ("attention", "edge_auroc")]
    assert [(r["first"], r["second"], r["n_cases"]) for r in pairs] == [
        ("fair", "good", 4),
        ("fair", "mine:poor", 3),
        ("good", "mine:poor", 3),
    ]
    assert "one MLP" not in {row["kind"] for row in rows}  # a single case


def test_each_ablation_is_an_entrant_and_the_newest_result_counts(tmp_path: Path) -> None:
    store = Store(tmp_path)
    fill(store, ["3"], ["good"], ablations=("resample", "mean"))
    row = store.read().filter(store.read()["ablation"] == "mean").row(0, named=True)
    newer = row | {"id": "newer", "edge_auroc": 0.125, "started": "2027-01-01T00:00:00+00:00"}
    store.write(newer)
    results = Results(store)
    assert results.entrants == ("good, mean", "good, resample")
    assert results.n_superseded == 1
    assert results.table("edge_auroc", ["3"])[0, 0] == 0.125


def test_files_next_to_the_page(page: Path) -> None:
    out = page.parent
    assert {f.name for f in (out / "plots").iterdir()} == {
        f"{name}.{suffix}"
        for name in ("boxes", "roc", "faithfulness", "time", "nodes", "heat")
        for suffix in ("png", "svg")
    }
    assert len(list((out / "circuits").glob("case-*.svg"))) == len(CASES)
    rows = list(csv.DictReader((out / "tables" / "runs.csv").read_text().splitlines()))
    assert len(rows) == len(CASES) * 3 * 2
    assert {row["status"] for row in rows} == {"done", "failed"}
    for name in ("leaderboard", "comparisons", "cases", "runtimes", "runs"):
        assert (out / "tables" / f"{name}.md").read_text().startswith("| ")


def test_the_page_needs_no_network_and_its_links_work(page: Path) -> None:
    html = page.read_text()
    without_names = html.replace("http://www.w3.org/", "")  # of SVG, not fetched
    assert not re.search(r"""(?:src|href)=["'](?:https?:)?//""", without_names)
    assert "@import" not in html
    links = re.findall(r'href="([^"]+)"', html)
    ids = set(re.findall(r'id="([^"]+)"', html))
    for link in links:
        if link.startswith("#"):
            assert link[1:] in ids, link
        elif link != "data:,":
            assert (page.parent / link).is_file(), link
    assert re.search(r'href="#case-13"', html)


def test_text_from_results_is_escaped(page: Path) -> None:
    html = page.read_text()
    assert "with &lt;angles&gt; &amp; more" in html
    assert "<angles>" not in html
    assert "ValueError: a &lt; b" in html


def test_the_page_shows_how_it_was_made(page: Path) -> None:
    html = page.read_text()
    for text in (
        "cpu: made up",
        "jax 0.0, python 3.0",
        "--cases &lt;all&gt;",
        "steps = 10",
        '<td class="more">top_n</td>',
    ):
        assert text in html


def test_plots_follow_the_page_s_colours(page: Path) -> None:
    assert "currentColor" in page.read_text()
    assert "#010203" not in page.read_text()
    assert "currentColor" not in (page.parent / "plots" / "boxes.svg").read_text()


@pytest.mark.parametrize(
    "methods", [["one"], [f"a_method_with_a_long_name_{i}" for i in range(21)]]
)
def test_one_case_with_few_or_many_methods(tmp_path: Path, methods: list[str]) -> None:
    """Plots fit: Matplotlib would warn otherwise, and warnings are errors."""
    fill(Store(tmp_path), ["3"], methods)
    assert write_report(Store(tmp_path), tmp_path / "out").is_file()


def test_nothing_to_report(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no results in"):
        write_report(Store(tmp_path), tmp_path / "out")
    store = Store(tmp_path)
    (tmp_path / "taken").touch()
    fill(store, ["3"], ["good"])
    with pytest.raises(ValueError, match="cannot write to .*taken"):
        write_report(store, tmp_path / "taken")


def test_errors_are_shown_if_all_runs_failed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    fill(store, ["3"], ["good"], fail="good")
    page = write_report(store, tmp_path / "out").read_text()
    assert "ValueError: a &lt; b" in page
    assert "--retry-failed" in page
    assert 'id="leaderboard"' not in page


def test_files_without_a_result_do_not_stop_the_report(tmp_path: Path) -> None:
    """Other files and damaged models are named on the page."""
    import polars as pl

    store = Store(tmp_path)
    fill(store, ["3", "13", "7"], ["good"])
    pl.DataFrame({"sepal": [1.0]}).write_parquet(tmp_path / "runs" / "iris.parquet")
    (tmp_path / "models" / "model13.json").write_text("{}")
    row = store.read().filter(store.read()["model"] == "3").row(0, named=True)
    store.write(row | {"id": "odd", "method": "odd", "scores_shape": [1, 3]})
    page = write_report(store, tmp_path / "out").read_text()
    found = Results(store)
    assert found.models == ("3", "7")
    assert len(found.unreadable) == 3
    for fault, name in zip(found.unreadable, ("iris.parquet", "model13.json", "odd"), strict=True):
        assert name in fault
        assert escape(fault) in page


def test_damaged_settings_are_shown_as_damaged(tmp_path: Path) -> None:
    store = Store(tmp_path)
    fill(store, ["3"], ["good"])
    row = store.read().row(0, named=True)
    assert "(damaged)" not in write_report(store, tmp_path / "out").read_text()
    store.write(row | {"knobs": '{"loss": ', "versions": "[1]"})
    page = write_report(store, tmp_path / "out").read_text()
    assert page.count("(damaged)") == 2


def test_results_that_are_not_comparable_are_separate(tmp_path: Path) -> None:
    """Other code for a model, or other methods, are separate; two names of a model are not."""
    store = Store(tmp_path)
    fill(store, ["3", "13"], ["good"])
    row = store.read().filter(store.read()["model"] == "3").row(0, named=True)

    def entrants(**changes: Any) -> list[str]:
        changed = row | {"id": "other", "started": "2027-01-01T00:00:00+00:00", **changes}
        store.write(changed)
        results = Results(store)
        assert results.models == (("3", "13") if changed["model"] == "3" else ("13", "elsewhere/3"))
        return sorted(results.entrants)

    of_code = ["good, code abcdefg", "good, code unknown"]
    assert entrants(environment="abcdefghi", seed=1) == of_code
    assert entrants(method_version="12345678") == [
        "good, file 1234567",
        "good, file unknown",
    ]
    assert entrants(model="elsewhere/3", model_id=row["model_id"]) == ["good"]


def test_a_report_says_if_several_versions_of_the_code_computed_it(tmp_path: Path) -> None:
    """The newest results of two models and methods, each by one version, are compared."""
    store = Store(tmp_path)
    fill(store, ["3", "13"], ["good", "fair"])
    page = write_report(store, tmp_path / "report").read_text()
    assert "versions of the code" not in page
    for row in store.read().filter(method="fair").iter_rows(named=True):
        later = {"id": f"later {row['id']}", "started": "2027-01-01T00:00:00+00:00"}
        store.write(row | later | {"environment": "abcdefghi"})
    results = Results(store)
    assert sorted(results.entrants) == ["fair", "good"] and len(results.done) == 4
    assert (results.n_environments, results.n_superseded) == (2, 2)
    page = write_report(store, tmp_path / "report").read_text()
    assert "2 versions of the code" in page
    assert "<code>abcdefg</code> <small>2 runs</small>" in page


def test_results_by_number_of_inputs(tmp_path: Path) -> None:
    """They are not separate entrants, and change no other table."""
    store = Store(tmp_path)
    fill(store, CASES, METHODS[:2], seeds=(0, 1))
    alone = leaderboard(Results(store))
    assert inputs_needed(Results(store)) == []
    fill(store, CASES, ["good"], seeds=(0, 1), n_inputs=10)
    results = Results(store)
    assert results.entrants == ("fair", "good") and leaderboard(results) == alone
    rows = inputs_needed(results)
    assert [(row["kind"], row["entrant"], row["n_inputs"]) for row in rows] == [
        (kind, "good", number) for kind in ("attention", "MLPs", "one MLP") for number in (10, 100)
    ]
    of_ten = results.of_inputs.filter(n_inputs=10, kind="attention")
    means = [np.mean(of_ten.filter(seed=seed)["edge_auroc"].to_numpy()) for seed in (0, 1)]
    first = rows[0]
    assert (first["cases"], first["seeds"]) == (4, 2)
    assert (first["worst_seed"], first["best_seed"]) == pytest.approx(sorted(means))
    assert first["edge_auroc"] == pytest.approx(np.mean(means))
    written = write_report(store, tmp_path / "report")
    html = written.read_text()
    assert "Inputs that methods need" in html and 'id="inputs-table"' in html
    assert (tmp_path / "report/tables/inputs.csv").read_text().count("good") == 6


def test_a_retrained_model_replaces_the_older_one(tmp_path: Path) -> None:
    store = Store(tmp_path)
    fill(store, ["3"], ["good", "fair"])
    rows = store.read()
    old = rows.filter(rows["method"] == "good").row(0, named=True)
    store.write_model("later", store.read_model("model3"))
    store.write(old | {"id": "later", "model_id": "later", "started": "2027-01-01T00:00:00+00:00"})
    results = Results(store)
    assert results.entrants == ("good",)
    assert results.n_superseded == 2


def circuit(*edges: str) -> Circuit:
    return Circuit(GRAPH, frozenset((e.split("->")[0], e.split("->")[1]) for e in edges))


def test_a_drawing_has_an_arrow_per_edge() -> None:
    truth, found = circuit("input->m0", "m0->logits"), circuit("input->m0", "m0->m1")
    kinds = edge_kinds(truth, found)
    assert {kind: len(edges) for kind, edges in kinds.items()} == {
        "true": 1,
        "missed": 1,
        "false": 1,
        "unobservable": 0,
    }
    drawing = circuit_svg(GRAPH, kinds, "a < b")
    for kind in ("true", "missed", "false"):
        assert drawing.count(f'class="edge {kind}"') == 1
    assert 'aria-label="a &lt; b"' in drawing
    straight, bent = re.findall(r' d="([^"]+)"', circuit_svg(GRAPH, {"true": truth.edges}, ""))
    assert "Q" not in straight
    assert "Q" in bent  # past m1
    alone = standing_alone(GRAPH, {"one: 1 true": drawing, "other": drawing})
    assert alone.count("<defs>") == 1


def test_nodes_that_no_edge_touches_are_not_drawn(tmp_path: Path) -> None:
    """This holds for the page's drawings and those of the command line."""
    truth, found = circuit("input->m0", "m0->logits"), circuit("input->m0", "m0->m1", "m1->logits")
    kinds = edge_kinds(truth, found)
    drawing = circuit_svg(GRAPH, kinds, "")
    drawn = re.findall(r'<use href="#g[0-9a-f]{8}-([^"]+)"/>', drawing)
    assert drawn == ["input", "logits", "m0", "m1"]
    alone = standing_alone(GRAPH, {"one": drawing})
    for name in (*GRAPH.writers, "logits"):
        assert len(re.findall(rf'id="g[0-9a-f]{{8}}-{name}"', alone)) == 1
    draw_comparison(truth, {"method": found}, tmp_path / "circuits.svg", title="")
    text = (tmp_path / "circuits.svg").read_text()
    assert "<!-- m1 -->" in text and "<!-- a0.h0 -->" not in text


def test_unobservable_edges_are_dashed_and_in_the_legend(tmp_path: Path) -> None:
    plain = circuit("input->a0.h0<q>", "input->m0", "m0->logits", "a0.h0->m0")
    hidden = frozenset({("input", "a0.h0<q>")})
    marked = Circuit(GRAPH, plain.edges, hidden)
    found = circuit("input->a0.h0<q>", "input->m0", "m0->logits", "m0->m1")
    assert {kind: len(edges) for kind, edges in edge_kinds(marked, found).items()} == {
        "true": 2,
        "missed": 1,
        "false": 1,
        "unobservable": 1,
    }
    assert 'class="edge unobservable"' in circuit_svg(GRAPH, edge_kinds(marked, marked), "")
    for truth, there in ((plain, False), (marked, True)):
        draw_comparison(truth, {"method": found}, tmp_path / "circuits.svg", title="")
        assert ("<!-- unobservable -->" in (tmp_path / "circuits.svg").read_text()) == there


def test_results_of_two_selections_are_two_entrants(tmp_path: Path) -> None:
    """Results without a recorded selection are a third."""
    store = Store(tmp_path)
    fill(store, ["3"], ["good", "fair"])
    row = store.read().filter(store.read()["method"] == "good").row(0, named=True)
    store.write(row | {"id": "searched", "selection": "greedy", "edge_auroc": 0.125})
    store.write(row | {"id": "older", "selection": None, "edge_auroc": 0.25})
    results = Results(store)
    assert results.selection_of == {
        "fair": "top_n",
        "good, greedy": "greedy",
        "good, not recorded": "not recorded",
        "good, top_n": "top_n",
    }
    values = dict(zip(results.entrants, results.table("edge_auroc", ["3"])[0], strict=True))
    assert (values["good, greedy"], values["good, not recorded"]) == (0.125, 0.25)
    page = write_report(store, tmp_path / "out").read_text()
    assert all(f'<td class="more">{name}</td>' in page for name in ("greedy", "not recorded"))
    (leader, *_) = csv.DictReader(
        (tmp_path / "out/tables/leaderboard.csv").read_text().splitlines()
    )
    assert leader["selection"] == "top_n"


def test_any_two_entrants_look_different() -> None:
    looks = [look(place) for place in range(35)]
    for pair in itertools.combinations(range(4), 2):
        assert len({tuple(of[i] for i in pair) for of in looks}) == 35, pair


def test_tables_as_text() -> None:
    rows: list[dict[str, Any]] = [{"name": "a|b", "value": 1 / 3}, {"name": "c", "value": None}]
    assert to_csv(rows) == f"name,value\na|b,{1 / 3}\nc,\n"
    assert to_markdown(rows) == "| name | value |\n| --- | --- |\n| a\\|b | 0.333 |\n| c |  |\n"
    assert to_csv([]) == "\n"


def test_the_short_leaderboard_has_a_table_per_kind(results: Results) -> None:
    text = short_board(results)
    headings = re.findall("^## (.*)$", text, re.MULTILINE)
    assert headings == ["attention: 3 models", "MLPs: 2 models", "one MLP: 1 models"]
    first = text.split("\n\n")[1].splitlines()
    assert first[0] == "| method | rank | AUROC | average precision | nodes | CPR | seconds |"
    best = leaderboard(results)[0]
    assert first[2].startswith(f"| `{best['entrant']}` | {best['rank']:.1f} (")
    assert f"| {best['edge_auroc']:.3f} |" in first[2]


def test_models_with_similar_names_have_separate_drawings() -> None:
    names = ("13", "x_1", "x-1", "siit/3", "siit-3", "-3", "3")
    assert len({anchor(name) for name in names}) == len(names)
    assert anchor("13") == "case-13"


def test_a_title_may_have_dollar_signs(tmp_path: Path) -> None:
    draw_comparison(circuit("input->m0"), {}, tmp_path / "a.png", title="$ or \\foo$")
    assert (tmp_path / "a.png").stat().st_size > 1_000
