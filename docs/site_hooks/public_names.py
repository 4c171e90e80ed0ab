"""Public names of the package and their documentation, read from the source by `ast`."""

import ast
import functools
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PACKAGE = ROOT / "interpbench_jax"


@dataclass(frozen=True)
class PublicName:
    """A name in the `__all__` of a package.

    Attributes:
      package: the package that exports it, such as `interpbench_jax.model`.
      name: its name in that package.
      home: where it is defined, such as `interpbench_jax.model.forward.forward`.
      summary: first paragraph of its documentation on one line; empty if there is none.
    """

    package: str
    name: str
    home: str
    summary: str


@functools.cache
def packages() -> tuple[str, ...]:
    """All packages with an `__all__`, the top-level one first."""
    found = sorted(file for file in PACKAGE.rglob("__init__.py") if _exported(_parse(file)))
    return tuple(_module_name(file) for file in found)


@functools.cache
def public_names(package: str) -> tuple[PublicName, ...]:
    """The names in the `__all__` of a package, in its order.

    Raises:
      ValueError: a name is not defined where the package imports it from.
    """
    tree = _parse(_file_of(package))
    return tuple(_resolve(package, name, tree) for name in _exported(tree))


def documented_in() -> dict[str, str]:
    """The package whose page documents a name, by the `home` of the name.

    This is the innermost package around the home that exports the name; if there is none, the
    first that exports it.
    """
    whole, *others = packages()
    found = {package: package for package in others}
    for package in others:
        for name in public_names(package):
            if name.home.startswith(f"{package}.") or name.home not in found:
                found[name.home] = package
    return found


def commands() -> tuple[str, ...]:
    """The commands of `interpbench`."""
    (found,) = (
        node.value
        for node in _parse(PACKAGE / "cli" / "__init__.py").body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "COMMANDS"
    )
    return tuple(
        node.value
        for node in ast.walk(found)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def _resolve(package: str, name: str, tree: ast.Module) -> PublicName:
    home, original = _imported_from(tree, name) or (package, name)
    folder = _file_of(f"{home}.{original}")
    if folder.name == "__init__.py":  # the name is a package
        return PublicName(package, name, f"{home}.{original}", _first_paragraph(_parse(folder)))
    while True:
        defining = _parse(_file_of(home))
        further = _imported_from(defining, original)
        if further is None:
            summary = _documentation(defining, home, original)
            return PublicName(package, name, f"{home}.{original}", summary)
        if further == (home, original):  # the name is a module
            module = f"{home}.{original}"
            return PublicName(package, name, module, _first_paragraph(_parse(_file_of(module))))
        home, original = further


def _documentation(tree: ast.Module, module: str, name: str) -> str:
    """The docstring of a class or function; the string or comment next to a constant."""
    for place, node in enumerate(tree.body):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            return _first_paragraph(node)
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            after = tree.body[place + 1] if place + 1 < len(tree.body) else None
            if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                return " ".join(str(after.value.value).split("\n\n")[0].split())
            return ""
    raise ValueError(f"{module} does not define {name}")


def _first_paragraph(node: ast.Module | ast.ClassDef | ast.FunctionDef) -> str:
    return " ".join((ast.get_docstring(node) or "").split("\n\n")[0].split())


def _imported_from(tree: ast.Module, name: str) -> tuple[str, str] | None:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                if (alias.asname or alias.name) == name and node.module.startswith(PACKAGE.name):
                    return node.module, alias.name
    return None


def _exported(tree: ast.Module) -> list[str]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return ast.literal_eval(node.value)
    return []


def _file_of(module: str) -> Path:
    place = ROOT.joinpath(*module.split("."))
    return place / "__init__.py" if place.is_dir() else place.with_suffix(".py")


def _module_name(file: Path) -> str:
    return ".".join(file.parent.relative_to(ROOT).parts)


@functools.cache
def _parse(file: Path) -> ast.Module:
    return ast.parse(file.read_text())
