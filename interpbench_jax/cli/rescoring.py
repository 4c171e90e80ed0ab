"""`interpbench evaluate --recipe`: are the scores in the cards those of the weights?"""

import math
from collections.abc import Sequence

from rich.console import Console

from interpbench_jax.cli.output import console, print_metrics
from interpbench_jax.files import to_json

TOLERANCE = 1e-3
"""Other machines round otherwise: of 2,000 pairs, one or two may come out differently."""


def rescore(recipe: str, names: Sequence[str], *, as_json: bool) -> int:
    """Scores the bundled models of a recipe from their weights, and compares with their cards.

    Args:
      recipe: its name, or a TOML file.
      names: models of it; all if none are named.
      as_json: print JSON instead of a table.

    Returns:
      1 if some score differs from the card's by more than `TOLERANCE`, otherwise 0.

    Raises:
      ValueError: there is no such recipe, model of it, or bundled model.
    """
    from interpbench_jax.zoo import load_model, recipes_of, score_again

    recipes = recipes_of(recipe, names)
    models = {name: load_model(name) for name in recipes}
    scores: dict[str, dict[str, float]] = {}
    differences: dict[str, dict[str, tuple[float, float]]] = {}
    for name, model in models.items():
        with Console(stderr=True).status(f"scoring {name}"):
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
    """What stands in a card and is not so: by metric the card's share and the one found.

    Args:
      card: metrics of a card; those that it lacks are not compared.
      found: metrics of the weights.
    """
    return {
        name: (share, found.get(name, math.nan))
        for name, share in card.items()
        if not abs(share - found.get(name, math.nan)) <= TOLERANCE
    }


def _print_differences(name: str, differs: dict[str, tuple[float, float]]) -> None:
    for metric, (said, found) in differs.items():
        console.print(
            f"model {name}: its card says {metric} {said:.4f}, its weights have {found:.4f}",
            highlight=False,
        )
