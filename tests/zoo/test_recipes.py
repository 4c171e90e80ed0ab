"""Recipes: their contents, and invalid ones."""

from pathlib import Path

import pytest

from interpbench_jax.cli import main
from interpbench_jax.cli.train import _runs_of_recipe
from interpbench_jax.siit import preset
from interpbench_jax.zoo import every_bundled_name, load_model, read_recipes, recipe_names


def test_every_bundled_model_has_its_recipe_and_was_made_by_it() -> None:
    both = (*read_recipes("suite"), *read_recipes("comparison"))
    recipes = {recipe.name: recipe for recipe in both}
    assert len(recipes) == len(both)
    for name in every_bundled_name():
        recipe, card = recipes[name], load_model(name).card
        made_of = [member for member in recipe.members() if member.seed == card["seed"]]
        # Settings that cards of earlier versions lack did not exist then.
        given = dict(card["config"])
        if given["iit_weight"] == given["strict_weight"] == 0:
            given.pop("source_gradient", None)  # there are no sources
        assert any(given.items() <= member.config.__dict__.items() for member in made_of), (
            f"{name}: {given}"
        )


def test_cards_say_what_was_tried() -> None:
    for recipe in read_recipes("suite"):
        assert load_model(recipe.name).card.get("tried", "") == recipe.tried, recipe.name


def test_only_missing_models_are_trained(tmp_path: Path) -> None:
    """Of a model that meets the bar, one that does not, and one that is not in the package."""
    file = tmp_path / "own.toml"
    file.write_text('["3"]\n["5"]\n["siit/40"]')
    out = tmp_path / "out"
    every = _runs_of_recipe(str(file), (), out, missing=False)
    assert {place: list(members) for place, members in every.items()} == {
        out: ["3", "5"],
        out / "siit": ["40"],
    }
    missing = _runs_of_recipe(str(file), (), out, missing=True)
    assert missing == {out: {"5": every[out]["5"]}, out / "siit": every[out / "siit"]}
    with pytest.raises(ValueError, match="no model to train"):
        _runs_of_recipe(str(file), ("3",), out, missing=True)


def test_every_recipe_has_settings_that_can_be_trained_by() -> None:
    for name in recipe_names():
        assert all(recipe.members() for recipe in read_recipes(name))


def test_settings_of_a_table_change_its_preset(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text(
        '["3"]\n["siit/13"]\nseeds = [4, 5]\nmax_batches = 50\nlearning_rate = [0.01, 0.002]\n'
    )
    usual, other = read_recipes(file)
    assert (usual.name, usual.task, usual.preset) == ("3", "3", "edge-siit")
    assert [member.config for member in usual.members()] == [preset("edge-siit", "3")]
    assert (other.task, other.preset, other.folder) == ("13", "siit", Path("siit"))
    drawn = [(m.seed, m.config.learning_rate, m.config.max_batches) for m in other.members()]
    assert drawn == [(4, 0.01, 50), (4, 0.002, 50), (5, 0.01, 50), (5, 0.002, 50)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("= 3", "not a TOML file"),
        ('["nothing/3"]', "'nothing/3' is not the name of a model"),
        ('["edge-siit/3"]', "is not the name of a model"),
        ('["siit/"]', "is not the name of a model"),
        ('"3" = 1', "unknown settings 1"),
        ('["3"]\ntried = 1', "tried of model 3 is 1, expected a text"),
        ('["3"]\nlerning_rate = 1.0', "unknown settings \\['lerning_rate'\\]"),
        ('["3"]\nseeds = 3', "seeds of model 3 are 3"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "own.toml"
    file.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_recipes(file)


def test_a_setting_out_of_range_names_the_model(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text('["3"]\nlearning_rate = -1.0')
    with pytest.raises(ValueError, match="recipe of model 3: learning_rate must be positive"):
        read_recipes(file)[0].members()


def test_unknown_recipes_and_models_end_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert recipe_names() == ("comparison", "published", "suite")
    for arguments, message in (
        (["--recipe", "nowhere"], "no recipe 'nowhere'"),
        (["3", "nowhere", "--recipe", "suite"], "has no model 'nowhere'"),
        (["--recipe", "suite", "--learning-rate", "1"], "leave out --learning-rate"),
        (["--recipe", "suite", "--seeds", "1"], "leave out --seeds"),
        (["3", "--missing"], "--missing can only be combined with --recipe"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(["train", *arguments])
        assert ended.value.code == 2
        assert message in " ".join(capsys.readouterr().err.split())
