"""The docs: links work, examples run, all public names and pages are listed."""

import contextlib
import importlib
import io
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import pytest

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
_EXAMPLE = re.compile(
    r"<!-- run(: slow)? -->\n```python\n(.*?)```(?:\n\nprints\n\n```\n(.*?)```)?", re.DOTALL
)


def _hooks(name: str) -> ModuleType:
    """A module of the site's hooks, which are not in a package."""
    sys.path.insert(0, str(DOCS / "site_hooks"))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.pop(0)


links, names = _hooks("links"), _hooks("public_names")
PAGES = sorted(file.relative_to(ROOT).as_posix() for file in DOCS.rglob("*.md"))
TEXTS = [
    *("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/README.md"),
    *(links.readmes() + links.notebooks()),
    *PAGES,
]
EXAMPLES = {page: _EXAMPLE.findall((ROOT / page).read_text()) for page in PAGES}
FAST = [page for page, found in EXAMPLES.items() if found and not any(slow for slow, *_ in found)]
SLOW = [page for page, found in EXAMPLES.items() if any(slow for slow, *_ in found)]


def _text(path: str) -> str:
    if path.endswith(".ipynb"):
        return _hooks("notebook_page").notebook_page(path)[0]
    return links.text_of(path)


@pytest.mark.parametrize("path", TEXTS)
def test_links_work(path: str) -> None:
    for target in links.relative_links(_text(path)):
        if path.endswith(".ipynb") and target.endswith(".png"):
            continue  # a plot of a cell
        found, anchor = links.resolved(path, target)
        assert (ROOT / found).exists(), f"{target}: no {found}"
        if anchor:
            assert anchor in links.anchors(_text(found)), f"{target}: no such heading"


def test_links_are_found_and_replaced() -> None:
    text = (
        "[a\nb](../x/README.md#c), `[no](code)`\n```\n[no](code)\n```\n[d](#e) [f](https://g.h)\n"
    )
    assert list(links.relative_links(text)) == ["../x/README.md#c", "#e"]
    assert links.resolved("docs/how-to/p.md", "../q.md#r") == ("docs/q.md", "r")
    turned = links.with_links_to_pages(
        "[s](../../interpbench_jax/scoring/README.md#ties)", "docs/how-to/p.md", "how-to/p.md"
    )
    assert turned == "[s](../folders/scoring.md#ties)"


def test_every_page_is_in_the_navigation_once() -> None:
    nav = (ROOT / "mkdocs.yml").read_text().split("\nnav:\n")[1].split("\n\n")[0]
    named = re.findall(r"(\S+\.md)$", nav, re.MULTILINE)
    assert len(named) == len(set(named))
    made = {links.page_of(path) for path in ("benchmarks/README.md", "CONTRIBUTING.md")}
    made.add(links.page_of("CHANGELOG.md"))
    assert set(named) == {page.removeprefix("docs/") for page in PAGES} | made
    assert re.findall(r"- (\S+/)$", nav, re.MULTILINE) == ["tutorials/", "folders/", "reference/"]


@pytest.mark.parametrize("package", names.packages())
def test_every_public_name_is_documented(package: str) -> None:
    found = names.public_names(package)
    assert found
    assert not [name.name for name in found if not name.summary]


def test_every_package_is_found() -> None:
    from tests.test_structure import ORDER

    assert {f"interpbench_jax.{folder}" for folder in ORDER} - {"interpbench_jax.cli"} <= set(
        names.packages()
    )


def test_every_named_command_exists() -> None:
    from interpbench_jax import cli

    assert names.commands() == cli.COMMANDS
    for page in PAGES:
        named = set(re.findall(r"(?:^|`)interpbench ([a-z]+)", (ROOT / page).read_text(), re.M))
        assert named <= set(cli.COMMANDS), page


def _run(program: str, variables: dict[str, Any]) -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), jax.numpy_rank_promotion("allow"):
        exec(program, variables)
    return printed.getvalue()


@pytest.mark.parametrize("page", FAST)
def test_examples_print_the_output_shown(page: str) -> None:
    variables = {"__name__": "example"}
    for _, program, shown in EXAMPLES[page]:
        printed = _run(program, variables)
        assert not shown or printed == shown


@pytest.mark.slow
@pytest.mark.parametrize("page", SLOW)
def test_long_examples_run(page: str, tmp_path: Path) -> None:
    """In a separate process, as they register cases and methods."""
    program = "\n".join(program for _, program, _ in EXAMPLES[page])
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout == "".join(shown for *_, shown in EXAMPLES[page])


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_needs_no_network(tmp_path: Path) -> None:
    pytest.importorskip("material")
    pytest.importorskip("mkdocstrings")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
    )
    assert built.returncode == 0, built.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > 40
    fetched: Callable[[str], list[str]] = re.compile(
        r"<(?:script|img|iframe|source)[^>]+src=[\"']?(?:https?:)?//[^\"'> ]+"
        r"|<link[^>]+href=[\"']?(?:https?:)?//[^\"'> ]+"
        r"|@import[^;]+//[^;]+|url\([\"']?(?:https?:)?//[^)]+"
    ).findall
    for file in (*pages, *tmp_path.rglob("*.css")):
        assert not fetched(file.read_text()), file
