"""Pages generated from the repository: READMEs, notebooks, API reference, linked files, report.

MkDocs calls `on_config`, `on_files`, `on_page_markdown` and `on_post_build`. A name that ends with
`/` in the navigation of `mkdocs.yml` stands for all generated pages of that folder.
"""

from pathlib import Path, PurePosixPath
from typing import Any

from links import (
    notebooks,
    page_of,
    readmes,
    relative_links,
    resolved,
    text_of,
    with_links_to_pages,
)
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from notebook_page import notebook_page
from public_names import (
    ROOT,
    PublicName,
    commands,
    documented_in,
    packages,
    public_names,
)

_COPIED = ("CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/README.md")
# Pages whose tables need the width of the table of contents.
_WIDE = ("suite.md",)
# The report of the results that come with the package. It is written after the build, since MkDocs
# would turn its Markdown tables into pages.
_REPORT = "board"
_LANGUAGES = {".py": "python", ".toml": "toml", ".json": "json", ".md": "markdown"}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Adds the generated pages to the navigation."""
    made: dict[str, list[Any]] = {
        "tutorials/": [page_of(path) for path in notebooks()],
        "folders/": [page_of(path) for path in readmes()],
        "reference/": ["reference/command-line.md", *map(_reference_entry, packages())],
    }
    config.nav = _expanded(config.nav, made)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the generated pages to the site."""
    sources = {path: text_of(path) for path in (*_COPIED, *readmes())}
    pages = {page_of(path): text for path, text in sources.items()}
    for path in notebooks():
        page, pictures = notebook_page(path)
        sources[path] = pages[page_of(path)] = page
        for name, picture in pictures.items():
            files.append(File.generated(config, f"tutorials/{name}", content=picture))
    files.append(File.generated(config, f"{_REPORT}/index.html", content=""))  # for the navigation
    for file in files.documentation_pages():
        sources[f"docs/{file.src_uri}"] = file.content_string
    for uri, page in (pages | _linked_files(sources) | _reference()).items():
        files.append(File.generated(config, uri, content=page))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Replaces links to files of the repository by links to pages, and gives wide tables room."""
    if page.file.src_uri in _WIDE:
        page.meta["hide"] = ["toc"]
    uri = page.file.src_uri
    made = {page_of(path): path for path in (*_COPIED, *readmes(), *notebooks())}
    return with_links_to_pages(markdown, made.get(uri, f"docs/{uri}"), uri)


def on_post_build(config: MkDocsConfig) -> None:
    """Writes the report of the leaderboard."""
    from interpbench_jax.benchmark import PackedResults, write_report
    from interpbench_jax.benchmark.packed_results import LEADERBOARD

    write_report(PackedResults(LEADERBOARD), Path(config.site_dir) / _REPORT)


def _expanded(entry: Any, made: dict[str, list[Any]]) -> Any:
    if isinstance(entry, dict):
        return {title: _expanded(inner, made) for title, inner in entry.items()}
    if isinstance(entry, list):
        inner = (made.get(item, [item]) if isinstance(item, str) else [item] for item in entry)
        return [_expanded(item, made) for items in inner for item in items]
    return entry


def _linked_files(sources: dict[str, str]) -> dict[str, str]:
    """A page for each linked file that has no page yet."""
    pages = {}
    for source, text in sources.items():
        for target in relative_links(text):
            path, _ = resolved(source, target)
            if page_of(path).startswith("files/") and (ROOT / path).is_file():
                language = _LANGUAGES.get(PurePosixPath(path).suffix, "text")
                pages[page_of(path)] = f"# {path}\n\n````{language}\n{text_of(path)}\n````\n"
    return pages


def _reference() -> dict[str, str]:
    """A page for every package, with all its public names, and one for the command line."""
    pages, owners = {}, documented_in()
    for package in packages():
        names = public_names(package)
        parts = [f"# {package}", f"::: {package}\n    options:\n      members: []"]
        if package == "interpbench_jax":  # names that other packages define
            parts.append("| name | what it is |\n|---|---|")
            parts[-1] += "".join(f"\n| {_linked(n, owners)} | {n.summary} |" for n in names)
        else:
            parts += [f"::: {name.home}" for name in names if owners[name.home] == package]
            others = [_linked(n, owners) for n in names if owners[n.home] != package]
            if others:
                parts.insert(2, f"Also exported, from other packages: {', '.join(others)}.")
        pages[_reference_uri(package)] = "\n\n".join(parts) + "\n"
    parts = ["# interpbench, the command line"]
    parts.append("`interpbench COMMAND --help` prints every option with its default.")
    for command in commands():
        module = f"interpbench_jax.cli.{command}"
        if not (ROOT / f"interpbench_jax/cli/{command}.py").exists():
            module += "_"  # the command is a keyword of Python, so its file has another name
        parts.append(f"## interpbench {command}")
        parts.append(f"::: {module}.{module.split('.')[-1]}\n    options:")
        parts[-1] += "\n      show_root_heading: false\n      show_signature: false"
    pages["reference/command-line.md"] = "\n\n".join(parts) + "\n"
    return pages


def _linked(name: PublicName, owners: dict[str, str]) -> str:
    """A name, linked to its documentation."""
    owner = owners[name.home]
    anchor = "" if name.home == owner else f"#{name.home}"
    return f"[`{name.name}`]({PurePosixPath(_reference_uri(owner)).name}{anchor})"


def _reference_entry(package: str) -> dict[str, str]:
    """A package in the navigation, by a name short enough for it."""
    return {package.removeprefix("interpbench_jax."): _reference_uri(package)}


def _reference_uri(package: str) -> str:
    return f"reference/{package.removeprefix('interpbench_jax.')}.md"
