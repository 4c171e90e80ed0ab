"""The shape of the package: imports point up."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "interpbench_jax"
# A folder may import from itself and from those before it.
ORDER = (
    "files",
    "model",
    "tasks",
    "cases",
    "compiler",
    "alignment",
    "siit",
    "evaluation",
    "discovery",
    "scoring",
    "zoo",
    "benchmark",
    "cli",
)
FILES = sorted(PACKAGE.rglob("*.py"))
_OWN = ("interpbench_jax", "tests")
# Modules whose names are not those of their packages, and parts of packages that others bring.
_OTHER_NAMES = ("haiku", "sklearn", "tracr", "absl", "docstring_parser", "jaxlib", "markupsafe")


def folder(module: str) -> str | None:
    """`interpbench_jax.model.graph` -> `model`; None for other packages."""
    parts = module.split(".")
    return parts[1] if parts[0] == "interpbench_jax" and len(parts) > 1 else None


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_imports_point_up(file: Path) -> None:
    place = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if place == "__init__":
        return
    for node in ast.walk(ast.parse(file.read_text())):
        names = [alias.name for alias in getattr(node, "names", [])]
        modules = names if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            whole = node.module == "interpbench_jax"  # then the names are those of modules
            modules = [f"{node.module}.{name}" for name in names] if whole else [node.module or ""]
        for imported in filter(None, map(folder, modules)):
            assert ORDER.index(imported) <= ORDER.index(place), ast.unparse(node)


def test_every_folder_is_listed() -> None:
    folders = {f.name for f in PACKAGE.iterdir() if f.is_dir() and (f / "__init__.py").exists()}
    assert folders == set(ORDER)


def test_public_names_can_be_completed() -> None:
    import interpbench_jax as ib

    for module in (ib, ib.benchmark):
        assert set(dir(module)) >= set(module.__all__)
        assert all(hasattr(module, name) for name in dir(module))
    assert "__version__" in dir(ib)
    assert ib.__version__.count(".") >= 1


def test_importing_the_package_loads_nothing_heavy() -> None:
    import subprocess
    import sys

    program = "import sys, interpbench_jax; print('jax' in sys.modules, 'tracr' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert found.stdout.split() == ["False", "False"], found.stderr


def test_types_do_not_depend_on_which_extras_are_installed() -> None:
    """Packages used only by benchmarks are `Any` to mypy, installed or not."""
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())
    peers = project["project"]["optional-dependencies"]["peers"]
    modules = {re.split("[=<>~!]", peer)[0].replace("-", "_") + ".*" for peer in peers}
    skipped = [
        set(override["module"])
        for override in project["tool"]["mypy"]["overrides"]
        if override.get("follow_imports") == "skip"
    ]
    assert modules <= set().union(*skipped)


def test_every_import_is_of_a_known_package() -> None:
    """Installed by the package or its extra `dev`, or `Any` to mypy."""
    root = PACKAGE.parent
    project = tomllib.loads((root / "pyproject.toml").read_text())
    named = project["project"]["dependencies"] + sum(
        (project["project"]["optional-dependencies"][extra] for extra in ("hub", "dev")), []
    )
    packages = {re.split("[=<>~!\\[]", name)[0].lower().replace("-", "_") for name in named}
    modules = {
        module.removesuffix(".*")
        for override in project["tool"]["mypy"]["overrides"]
        if override.get("follow_imports") == "skip"
        for module in override["module"]
    }
    known = {*sys.stdlib_module_names, *packages, *_OTHER_NAMES, *modules, *_OWN}
    unknown = set()
    for folder in ("interpbench_jax", "tests", "benchmarks"):
        for file in (root / folder).rglob("*.py"):
            if "export_scripts" in file.parts:  # for other environments
                continue
            beside = {other.stem for other in file.parent.glob("*.py")}
            for node in ast.walk(ast.parse(file.read_text())):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom) and not node.level:
                    names = [node.module or ""]
                unknown |= {name.partition(".")[0] for name in names} - known - beside
    assert not unknown
