"""Settings of training on the command line: one option per field of `SiitConfig`, and a file."""

import dataclasses
import tomllib
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import docstring_parser
import tyro

from interpbench_jax.files import read_text
from interpbench_jax.siit.config import SiitConfig
from interpbench_jax.siit.members import VARIED, Member, members
from interpbench_jax.siit.presets import preset


def _options() -> list[tuple[str, Any, Any]]:
    """Every field as an optional command line option; rates take several values."""
    documented = docstring_parser.parse(SiitConfig.__doc__ or "").params
    texts = {entry.arg_name: " ".join((entry.description or "").split()) for entry in documented}
    options = []
    for field in dataclasses.fields(SiitConfig):
        kind: Any = tuple[float, ...] if field.name in VARIED else field.type
        help_text = tyro.conf.arg(
            help=texts[field.name], help_behavior_hint=f"(default: {field.default})"
        )
        options.append((field.name, Annotated[kind | None, help_text], None))
    return options


if typing.TYPE_CHECKING:
    Overrides = Any
else:
    Overrides = dataclasses.make_dataclass("Overrides", _options(), frozen=True, kw_only=True)


def population(
    case: str, preset_name: str, file: Path | None, overrides: Overrides, seeds: Sequence[int]
) -> tuple[Member, ...]:
    """The members to train on a case: defaults, overridden by preset, file and options in turn.

    Args:
      case: name of the case.
      preset_name: one of `PRESETS`.
      file: TOML file with fields of `SiitConfig`; rates may be lists.
      overrides: options from the command line.
      seeds: seeds; one member for every combination with rates.

    Raises:
      ValueError: a preset, field or value is unknown; the message names it.
    """
    given = dataclasses.asdict(overrides)
    chosen = _from_file(file) | {name: value for name, value in given.items() if value is not None}
    vary = {}
    for name in VARIED:
        values = chosen.get(name)
        if isinstance(values, list | tuple):
            vary[name] = tuple(chosen.pop(name))
    try:
        config = dataclasses.replace(preset(preset_name, case), **chosen)
        return members(config, seeds=seeds, vary=vary)
    except TypeError as error:
        raise ValueError(f"bad settings: {error}") from error


def _from_file(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        settings = tomllib.loads(read_text(file))
    except (OSError, ValueError) as error:
        raise ValueError(f"{file} is not a readable TOML file: {error}") from error
    known = {field.name for field in dataclasses.fields(SiitConfig)}
    if unknown := settings.keys() - known:
        raise ValueError(
            f"{file}: unknown settings {sorted(unknown)}; known: {', '.join(sorted(known))}"
        )
    return settings
