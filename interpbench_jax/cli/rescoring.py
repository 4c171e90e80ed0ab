"""`interpbench evaluate --recipe`: recomputes the scores in cards from the weights."""

import math
from collections.abc import Sequence

from rich.console import Console

from interpbench_jax.cli.output import console, print_metrics
from interpbench_jax.files import to_json

LARGEST_DIFFERENCE = 1e-3
"""Rounding differs between machines: a few of 5,000 pairs may give another answer."""


def rescore(recipe: str, names: Sequence[str], *, as_json: bool) -> int:
    """Scores the bundled models of a recipe from their weights, and compares with their cards.

    Args:
      recipe: name of the recipe, or a TOML file.
      names: models of the recipe; all by default.
      as_json: print JSON instead of a table.

    Returns:
      1 if some score differs from the card's by more than `LARGEST_DIFFERENCE`, otherwise 0.

    Raises:
      ValueError: there is no such recipe, no such model in it, or no such bundled model.
    """
    from interpbench_jax.zoo import load_model, recipes_of, score_again

    recipes = recipes_of(recipe, names)
    models = {name: load_model(name) for name in recipes}
    scores: dict[str, dict[str, float]] = {}
    differences: dict[str, dict[str, tuple[float, float]]] = {}
    for place, (name, model) in enumerate(models.items(), 1):
        with Console(stderr=True).status(f"scoring {name} ({place} of {len(models)})"):
            scores[name] = score_again(model, recipes[name].members()[0].config).metrics
        differences[name] = differing(model.card["metrics"], scores[name])
        if not as_json:
            _print_differences(name, differences[name])
    if as_json:
        rows = [
            {"model": name, "metrics": scores[name], "differs": differences[name]}
            for name in models
        ]
        print(to_json(rows, indent=1))
    else:
        print_metrics(scores)
        n_wrong = sum(map(bool, differences.values()))
        console.print(f"{n_wrong} of {len(models)} models differ from their cards", highlight=False)
    return int(any(differences.values()))


def differing(card: dict[str, float], found: dict[str, float]) -> dict[str, tuple[float, float]]:
    """The metrics that differ from the card, as (value in the card, value from the weights).

    Args:
      card: metrics of a card; missing metrics are not compared.
      found: metrics computed from the weights.
    """
    return {
        name: (share, found.get(name, math.nan))
        for name, share in card.items()
        if not abs(share - found.get(name, math.nan)) <= LARGEST_DIFFERENCE
    }


def _print_differences(name: str, differs: dict[str, tuple[float, float]]) -> None:
    for metric, (stated, found) in differs.items():
        console.print(
            f"model {name}: its card has {metric} {stated:.4f}, its weights {found:.4f}",
            highlight=False,
        )
