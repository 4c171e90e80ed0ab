"""Recipes: the settings of every model in a set, so that the set can be trained again."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from interpbench_jax.files import read_text
from interpbench_jax.siit import PRESETS, Member, SiitConfig, members, preset
from interpbench_jax.siit.presets import USUAL_PRESET

RECIPES = Path(__file__).parent / "recipes"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The settings of one model.

    Attributes:
      name: name of the model: `TASK`, or `PRESET/TASK` for a preset other than the default.
      seeds: seeds of the members; there is one for every combination with rates, the best is kept.
      settings: fields of `SiitConfig` that differ from the preset's. Fields in which members may
        differ (`VARIED`) can have a list of values.
      tried: what other settings led to, if some were tried; for people.
    """

    name: str
    seeds: tuple[int, ...] = (0,)
    settings: Mapping[str, Any] = field(default_factory=dict)
    tried: str = ""

    @property
    def task(self) -> str:
        """Name of the task."""
        return self.name.rpartition("/")[2]

    @property
    def preset(self) -> str:
        """Name of the preset."""
        return self.name.rpartition("/")[0] or USUAL_PRESET

    @property
    def folder(self) -> Path:
        """The model's folder within its set: the preset's folder if it is not the default."""
        return Path(self.name).parent

    def members(self) -> tuple[Member, ...]:
        """The members to train.

        Raises:
          ValueError: a setting is out of range; the message names the model.
        """
        try:
            config = preset(self.preset, self.task)
            vary = {name: value for name, value in self.settings.items() if type(value) is list}
            same = {name: value for name, value in self.settings.items() if name not in vary}
            return members(replace(config, **same), seeds=self.seeds, vary=vary)
        except (TypeError, ValueError) as error:
            raise ValueError(f"recipe of model {self.name}: {error}") from error


def recipe_names() -> tuple[str, ...]:
    """Names of the recipes that come with the package."""
    return tuple(sorted(file.stem for file in RECIPES.glob("*.toml")))


def read_recipes(name: str | Path) -> tuple[Recipe, ...]:
    """Reads a recipe that comes with the package, by its name, or a TOML file.

    The file has one table per model, with `seeds`, fields of `SiitConfig`, and `tried`, a text; an
    empty table is the unchanged preset.

    Raises:
      ValueError: there is no such recipe, or the file has another form; the message names it.
    """
    known = recipe_names()
    file = RECIPES / f"{name}.toml" if str(name) in known else Path(name)
    try:
        text = read_text(file)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"no recipe {str(name)!r}: neither {', '.join(known)} nor a readable file"
        ) from error
    try:
        tables = tomllib.loads(text)
    except ValueError as error:
        raise ValueError(f"{file} is not a TOML file: {error}") from error
    return tuple(_read(file, model, table) for model, table in tables.items())


def recipes_of(name: str | Path, models: Sequence[str]) -> dict[str, Recipe]:
    """Models of a recipe, by their names.

    Args:
      name: name of the recipe, or a TOML file.
      models: names of the models; all models of the recipe if empty.

    Raises:
      ValueError: as `read_recipes`, or the recipe has no model of that name.
    """
    recipes = {found.name: found for found in read_recipes(name)}
    for model in models:
        if model not in recipes:
            raise ValueError(f"recipe {name} has no model {model!r}; it has {', '.join(recipes)}")
    return {model: recipes[model] for model in models or recipes}


def _read(file: Path, name: str, table: Any) -> Recipe:
    folder, _, task = name.rpartition("/")
    if not task or folder not in ("", *PRESETS) or folder == USUAL_PRESET:
        raise ValueError(
            f"{file}: {name!r} is not the name of a model; expected TASK or PRESET/TASK, with "
            "PRESET one of " + ", ".join(known for known in PRESETS if known != USUAL_PRESET)
        )
    known = {known.name for known in fields(SiitConfig)} | {"seeds", "tried"}
    if not isinstance(table, dict) or (unknown := table.keys() - known):
        given = sorted(unknown) if isinstance(table, dict) else repr(table)
        raise ValueError(f"{file}: model {name} has unknown settings {given}")
    seeds = table.pop("seeds", [0])
    if not isinstance(seeds, list) or not all(type(seed) is int for seed in seeds):
        raise ValueError(f"{file}: seeds of model {name} are {seeds!r}, expected whole numbers")
    tried = table.pop("tried", "")
    if not isinstance(tried, str):
        raise ValueError(f"{file}: tried of model {name} is {tried!r}, expected a text")
    return Recipe(name=name, seeds=tuple(seeds), settings=table, tried=tried)
