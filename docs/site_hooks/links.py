"""Where a file of the repository stands in the site, and links that are turned to point there.

Pages and READMEs link to files of the repository, so that the links work wherever the files are
read; in the site the same links lead to pages.
"""

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from public_names import ROOT

_LINK = re.compile(r"(?<!`)(!?\[(?:[^\[\]]|\[[^\]]*\])*\]\()([^()\s]+)(\))")
_FENCE = re.compile(r"^\s*(```+|~~~+)")
_PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "CHANGELOG.md": "project/changelog.md",
    "benchmarks/README.md": "benchmarks.md",
    "notebooks": "tutorials/index.md",
}


def readmes() -> tuple[str, ...]:
    """READMEs of the package's folders, as paths in the repository."""
    found = (ROOT / "interpbench_jax").rglob("README.md")
    return tuple(sorted(file.relative_to(ROOT).as_posix() for file in found))


def notebooks() -> tuple[str, ...]:
    """The notebooks, as paths in the repository, in the order in which they are to be read."""
    return tuple(
        file.relative_to(ROOT).as_posix() for file in sorted((ROOT / "notebooks").glob("*.ipynb"))
    )


def page_of(path: str) -> str:
    """The page or asset of the site that shows a file or folder of the repository."""
    place = PurePosixPath(path)
    if path in _PAGES:
        return _PAGES[path]
    if (ROOT / path / "README.md").exists():
        return page_of(f"{path}/README.md")
    if place.parts[0] == "docs":
        return place.relative_to("docs").as_posix()
    if place.parts[0] == "notebooks":
        return f"tutorials/{place.name.replace('.ipynb', '.md')}"
    if place.name == "README.md" and place.parts[0] == "interpbench_jax":
        return f"folders/{'-'.join(place.parts[1:-1])}.md"
    return f"files/{path}.md"


def relative_links(markdown: str) -> Iterator[str]:
    """Targets of all links to files, without those in code."""
    for line, is_code in _lines(markdown):
        if not is_code:
            yield from (target for _, target, _ in _LINK.findall(line) if _is_relative(target))


def resolved(source: str, target: str) -> tuple[str, str]:
    """The file that a link in `source` leads to, as a path in the repository, and its anchor."""
    path, _, anchor = target.partition("#")
    folder = posixpath.dirname(source)
    return (posixpath.normpath(posixpath.join(folder, path)) if path else source), anchor


def with_links_to_pages(markdown: str, source: str, page: str) -> str:
    """The text of `source`, with its links as they must be on the page that shows it."""

    def turned(match: re.Match[str]) -> str:
        before, target, after = match.groups()
        if not _is_relative(target) or target.startswith("#"):
            return match[0]
        path, anchor = resolved(source, target)
        to = posixpath.relpath(page_of(path), posixpath.dirname(page) or ".")
        return f"{before}{to}{'#' * bool(anchor)}{anchor}{after}"

    return "".join(
        line if is_code else _LINK.sub(turned, line) for line, is_code in _lines(markdown)
    )


def anchors(markdown: str) -> set[str]:
    """Anchors of all headings, as GitHub and the site make them."""
    found: dict[str, int] = {}
    for line, is_code in _lines(markdown):
        heading = None if is_code else re.match(r"#+\s+(.*?)\s*#*$", line)
        if heading:
            text = re.sub(r"[^\w\s-]", "", heading[1].lower())
            slug = re.sub(r"\s", "-", text.strip())
            found[slug] = found.get(slug, -1) + 1
    return {
        slug if copy == 0 else f"{slug}_{copy}"
        for slug, n in found.items()
        for copy in range(n + 1)
    }


def text_of(path: str) -> str:
    """A file of the repository."""
    return Path(ROOT / path).read_text()


def _is_relative(target: str) -> bool:
    return not re.match(r"[a-z][a-z0-9+.-]*:|//", target)


def _lines(markdown: str) -> Iterator[tuple[str, bool]]:
    """Lines, and whether each is in a block of code; links may break lines, so text is joined."""
    text, fence = [], ""
    for line in markdown.splitlines(keepends=True):
        mark = _FENCE.match(line)
        if mark and not fence:
            yield from _paragraphs(text)
            text, fence = [], mark[1]
            yield line, True
        elif fence:
            fence = "" if mark and mark[1].startswith(fence) else fence
            yield line, True
        else:
            text.append(line)
    yield from _paragraphs(text)


def _paragraphs(lines: list[str]) -> Iterator[tuple[str, bool]]:
    """Headings alone and all other text between them as a whole."""
    run: list[str] = []
    for line in lines:
        if line.startswith("#"):
            yield "".join(run), False
            yield line, False
            run = []
        else:
            run.append(line)
    yield "".join(run), False
