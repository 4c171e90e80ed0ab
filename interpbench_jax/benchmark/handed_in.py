"""Files of other tools: finding them, and determining their models and names in results."""

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from interpbench_jax.benchmark.entries import Entry
from interpbench_jax.benchmark.plan import ModelSource, named_model, stored_model
from interpbench_jax.discovery import METHODS
from interpbench_jax.zoo import BenchmarkModel, load_model
from interpbench_jax.zoo.export import MANIFEST, read_manifest
from interpbench_jax.zoo.formats import SUFFIXES, read_discovered
from interpbench_jax.zoo.mib import IMPORTANCES

_FOLDERS = "scores", "circuits"
"""The folders to which an exported model's scripts write."""


class HandedIn(NamedTuple):
    """One file.

    Attributes:
      file: its path.
      model: the model that it belongs to.
      facts: facts stored by the export of this model; None if the file is elsewhere.
    """

    file: Path
    model: ModelSource
    facts: dict[str, Any] | None


def find_files(places: Sequence[Path], model: str | None = None) -> list[HandedIn]:
    """Finds scores and circuits.

    Args:
      places: files; exported models, or directories of these, from which `scores` and `circuits`
        are read; or other directories, from which every suitable file is read.
      model: the model of all files, by name or directory; by default the model that was exported to
        the file's directory.

    Raises:
      ValueError: a place does not exist or has no suitable file, or a file's model is unknown or
        has changed since it was exported.
    """
    named = None if model is None else named_model(model)
    exported = functools.cache(_exported_model)
    found: list[HandedIn] = []
    for place in places:
        if not place.exists():
            raise ValueError(f"there is no {place}")
        exports = sorted(file.parent for file in place.rglob(MANIFEST))
        files = _files_in(place, exports) if place.is_dir() else [place]
        if not files and exports:
            raise ValueError(f"no scores in {exports[0]}; first run the script run.py there")
        if not files:
            raise ValueError(f"no scores in {place}; expected files {', '.join(SUFFIXES)}")
        for file in files:
            export = _export_of(file)
            if named is not None:
                found.append(HandedIn(file, named, None))
            elif export is None:
                raise ValueError(
                    f"{file} is not in a folder that `interpbench export` wrote; give its model "
                    "with --model"
                )
            else:
                found.append(HandedIn(file, *exported(export)))
    return found


def without_scores(places: Sequence[Path]) -> list[Path]:
    """The exported models below some directories for which no script has written scores yet."""
    exports = (file.parent for place in places if place.is_dir() for file in place.rglob(MANIFEST))
    return sorted(export for export in exports if not _files_in(export, [export]))


def entries_of(
    files: Sequence[HandedIn],
    *,
    method: str | None = None,
    selection: str = "usual",
    **settings: Any,
) -> list[Entry]:
    """Reads files.

    Args:
      files: files from `find_files`.
      method: the name in results; by default the name of the file (of its folder in MIB's layout,
        and of the array in `scores.npz`), with the tool that the model was exported for.
      selection: how scores become circuits.
      **settings: `ablation`, `seed` and `n_inputs`; by default those of the export, or the usual
        ones.

    Returns:
      The entries, grouped by model.

    Raises:
      ValueError: a file cannot be read, or two files have different results for the same model and
        name.
    """
    entries: dict[tuple[str, str], Entry] = {}
    for handed in files:
        noted = handed.facts or {}
        how = {name: noted[name] for name in ("ablation", "seed", "n_inputs") if name in noted}
        discovered = read_discovered(handed.file, _loaded(handed.model))
        if method is not None and len(discovered) > 1:
            raise ValueError(
                f"{handed.file} has scores of {', '.join(discovered)}; they cannot all be named "
                f"{method!r}"
            )
        for name, found in discovered.items():
            entry = Entry(
                model=handed.model,
                method=method or _called(handed, name),
                discovered=found,
                file=handed.file,
                selection=selection,
                **how | settings,
            )
            place = entry.model.fingerprint, entry.method
            before = entries.setdefault(place, entry)
            if before.run.id != entry.run.id:
                raise ValueError(
                    f"{before.file} and {entry.file} differ, but both are results of "
                    f"{entry.method!r} for model {entry.model.name}; give one of them another name"
                )
    first = list(dict.fromkeys(entry.model for entry in entries.values()))
    return sorted(entries.values(), key=lambda entry: first.index(entry.model))


def _files_in(directory: Path, exports: Sequence[Path]) -> list[Path]:
    roots = [export / folder for export in exports for folder in _FOLDERS]
    if not exports:
        roots = [directory]
    return [file for root in roots for file in sorted(root.rglob("*")) if _could_be(file)]


def _could_be(file: Path) -> bool:
    return file.suffix in SUFFIXES and not file.name.startswith(".") and file.is_file()


def _export_of(file: Path) -> Path | None:
    """The folder of the exported model that contains a file."""
    folders: Iterator[Path] = iter(file.resolve().parents)
    return next((folder for folder in folders if (folder / MANIFEST).is_file()), None)


def _exported_model(export: Path) -> tuple[ModelSource, dict[str, Any]]:
    """The model that was exported to a folder, checked to be unchanged, and its facts."""
    facts = read_manifest(export)
    assert facts is not None, export
    directory = facts.get("directory")
    if directory is None:
        model = named_model(facts["model"])
    else:
        model = stored_model(Path(str(directory)), facts["model"])
    if model.fingerprint != facts["model_id"]:
        raise ValueError(
            f"{export / MANIFEST}: model {facts['model']} has changed since it was exported; "
            "export it again, or give a model with --model"
        )
    return model, facts


@functools.lru_cache(maxsize=4)
def _loaded(source: ModelSource) -> BenchmarkModel:
    assert source.directory is not None, source
    return load_model(Path(source.directory))


def _called(handed: HandedIn, method: str) -> str:
    file = handed.file
    if not method:
        in_mib = file.name.startswith(Path(IMPORTANCES).stem)
        method = file.resolve().parents[1].name if in_mib else file.stem
    if handed.facts is not None:
        return f"{method} ({handed.facts['tool']})"
    return f"{method} (file)" if method in METHODS else method
