"""The report's page in a headless Chromium, as installed by `apt-get install chromium`.

Set `INTERPBENCH_CHROMIUM` to the path of another one.
"""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from interpbench_jax.benchmark import Store, write_report
from tests.benchmark.made_up import fill

pytestmark = pytest.mark.slow

BROWSER = (
    os.environ.get("INTERPBENCH_CHROMIUM")
    or shutil.which("chromium")
    or shutil.which("chromium-browser")
    or shutil.which("google-chrome")
)
CASES = ["3", "13", "7", "4", "11", "20", "100"]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = Store(tmp_path_factory.mktemp("results"))
    fill(store, CASES, ["good", "fair", "mine:poor"], seeds=(0, 1), fail="mine:poor")
    return write_report(store, store.directory / "report")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if BROWSER is None:
        pytest.skip("no Chromium on the path: the page is NOT tested (apt-get install chromium)")
    sync_playwright = pytest.importorskip(
        "playwright.sync_api", reason="no playwright: the page is NOT tested (pip install .[dev])"
    ).sync_playwright
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Any, file: Path) -> Iterator[Any]:
    """The page without a network; a test fails if the console has any message."""
    context = browser.new_context(offline=True, viewport={"width": 1280, "height": 900})
    page, problems = context.new_page(), []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("requestfailed", lambda request: problems.append(request.url))
    page.goto(file.as_uri())
    yield page
    context.close()
    assert problems == []


def shown(page: Any, table: str, column: int = 0) -> list[str]:
    """The text of a column's visible cells."""
    cells = page.locator(f"#{table} tbody tr:not([hidden]) > :nth-child({column + 1})")
    return [text.strip() for text in cells.all_inner_texts()]


def test_the_leaderboard_begins_with_attention_and_can_be_filtered(page: Any) -> None:
    assert shown(page, "board") == ["good", "fair", "mine:poor"]
    page.select_option('select[data-filters="board"]', "")
    assert len(shown(page, "board")) == 9
    page.fill('input[data-filters="board"]', "POOR")
    assert shown(page, "board") == ["mine:poor"] * 3
    assert page.locator('output[data-counts="board"]').inner_text() == "3 of 9 rows"


def test_the_leaderboard_fits_a_laptop_and_has_more_columns(page: Any) -> None:
    box = "document.querySelector('#leaderboard .scroll')"
    assert page.evaluate(f"{box}.scrollWidth - {box}.clientWidth") == 0
    heads = page.locator("#board thead th")
    assert heads.locator("visible=true").count() == 13
    assert heads.filter(has_text="AP").is_visible()
    page.select_option('select[data-filters="board"]', "")  # all kinds, which are then told
    assert heads.filter(has_text="kind").is_visible()
    page.check("#all-columns")
    assert heads.filter(has_text="superfluous").is_visible()


def test_what_is_beyond_the_edge_has_a_shadow(page: Any) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    box = page.locator("#leaderboard .scroll")
    page.wait_for_selector("#leaderboard .scroll.cut")
    box.evaluate("box => box.scrollLeft = box.scrollWidth")
    page.wait_for_selector("#leaderboard .scroll:not(.cut)")


def test_tables_sort_by_number_and_by_name(page: Any) -> None:
    heads = page.locator("#heat-table thead button")
    heads.nth(0).click()
    assert shown(page, "heat-table") == ["3", "4", "7", "11", "13", "20", "100"]  # not 100, 11, 13
    heads.nth(0).click()
    assert shown(page, "heat-table") == ["100", "20", "13", "11", "7", "4", "3"]
    heads.nth(4).click()  # mine:poor, which failed on 3
    values = shown(page, "heat-table", 4)
    numbers = [float(text) for text in values if text]
    assert values[-1] == ""
    assert numbers == sorted(numbers, reverse=True)
    assert page.locator("#heat-table th[aria-sort=descending]").count() == 1
    heads.nth(4).press("Enter")  # buttons are reached by keyboard
    ascending = shown(page, "heat-table", 4)
    assert ascending[-1] == ""  # still last
    assert [float(text) for text in ascending if text] == numbers[::-1]


def test_the_heat_map_shows_another_score(page: Any) -> None:
    before = shown(page, "heat-table", 2)
    page.select_option("#heat-score", label="CPR")
    after = shown(page, "heat-table", 2)
    assert before != after
    assert all(re.fullmatch(r"\d\.\d{3}", text) for text in after)


def test_statistics_can_be_filtered(page: Any) -> None:
    assert shown(page, "pairs") == ["fair", "fair", "good"]
    page.check('input[type=checkbox][data-filters="pairs"]')
    assert shown(page, "pairs") == []  # four cases are too few for 0.05


def test_links_lead_to_their_places(page: Any, file: Path) -> None:
    page.click('#heat-table a[href="#case-13"]')
    section = page.locator("#case-13")
    assert section.get_attribute("open") is not None
    assert section.locator("h3", has_text="Program").is_visible()
    box = section.bounding_box()
    assert 0 <= box["y"] < 200
    assert section.locator("svg.circuit").count() == 4  # the true one and three found
    for link in page.locator("a").all():
        target = link.get_attribute("href")
        if target.startswith("#"):
            assert page.locator(target).count() == 1, target
        else:
            assert (file.parent / target).is_file(), target
    page.click("#close-all")
    assert section.get_attribute("open") is None


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_nothing_overflows(page: Any, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.click("#open-all")
    assert page.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.parametrize(("scheme", "dark"), [("light", False), ("dark", True)])
def test_text_and_background_follow_the_colour_scheme(page: Any, scheme: str, dark: bool) -> None:
    page.emulate_media(color_scheme=scheme)
    style = "getComputedStyle(document.body)"
    ink, ground = (
        sum(map(float, re.findall(r"[\d.]+", page.evaluate(f"{style}.{name}"))[:3]))
        for name in ("color", "backgroundColor")
    )
    assert (ink > ground) == dark
    assert abs(ink - ground) > 3 * 120
    plot = "getComputedStyle(document.querySelector('#plot-boxes svg text')).fill"
    assert page.evaluate(plot) == page.evaluate(f"{style}.color")
