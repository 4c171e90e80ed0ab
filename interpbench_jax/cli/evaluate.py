"""`interpbench evaluate`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from rich.console import Console

from interpbench_jax.benchmark.evaluation_settings import EvaluationSettings
from interpbench_jax.benchmark.plan import check_seed
from interpbench_jax.cli.models import load_models
from interpbench_jax.cli.output import console, make_directories, print_metrics, print_table
from interpbench_jax.cli.rescoring import rescore
from interpbench_jax.files import to_json

if TYPE_CHECKING:
    from interpbench_jax.benchmark.evaluate import JointEvaluation
    from interpbench_jax.evaluation import Certificate
    from interpbench_jax.zoo import BenchmarkModel

    Found = tuple[dict[str, float], JointEvaluation, Certificate]

_FORMS = {
    "accuracy": "share of outputs that miss the target",
    "kl": "rise of KL to the target",
    "kl_self": "rise of KL to the unpatched output",
}


def evaluate(
    models: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="MODEL...")],
    *,
    recipe: str | None = None,
    n_pairs: int = EvaluationSettings.n_pairs,
    n_interventions: int = EvaluationSettings.n_interventions,
    n_runs: int = EvaluationSettings.n_runs,
    n_sets: int = EvaluationSettings.n_sets,
    edge_runs: int = EvaluationSettings.edge_runs,
    seed: int = EvaluationSettings.seed,
    out: Path | None = None,
    as_json: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> int:
    """Verify that models follow their circuits under patches.

    Everything is measured on test sequences; a line per model says whether they were held out from
    its training, according to its card.

    Prints accuracy, IIA and SIIA; agreement with the algorithm when sets of edges are patched in
    both (see `interpbench audit`); leakage, the share of outputs that miss the target when subsets
    of the nodes outside the circuit are patched, or nodes at one position only (this includes
    errors of the unpatched model); abstraction, the share of outputs that meet the target when sets
    of variables are interchanged while nodes outside the circuit are patched; accuracy of the
    circuit alone; and the effect of every node, where the targets of base and source differ.

    With `--recipe suite`, recomputes the scores in the cards of all models of the suite, or of the
    named models, and fails if a score differs. The cards determine the pairs, so only `--json` can
    be combined with it.

    Args:
      models: bundled models by name, or directories.
      recipe: only compare the models of a recipe with their cards.
      n_pairs: (base, source) pairs to draw.
      n_interventions: random interventions for abstraction.
      n_runs: patched runs, each for leakage and abstraction; if all pairs would take more, fewer
        are used, but at least 100.
      n_sets: random sets of edges to patch.
      edge_runs: approximate number of patched runs for each part of the edge agreement.
      seed: seed of the pairs and sets of edges.
      out: directory for a drawing of the effects of every model.
      as_json: print JSON instead of tables.
    """
    from interpbench_jax.benchmark.draw_effects import draw_effects
    from interpbench_jax.benchmark.evaluate import certify_model, evaluate_jointly, validate_model

    if recipe is not None:
        settings = EvaluationSettings(
            n_pairs=n_pairs,
            n_interventions=n_interventions,
            n_runs=n_runs,
            n_sets=n_sets,
            edge_runs=edge_runs,
            seed=seed,
        )
        if settings != EvaluationSettings() or out is not None:
            raise ValueError("--recipe can only be combined with names of models and --json")
        return rescore(recipe, models, as_json=as_json)
    check_seed(seed)
    loaded = load_models(models)
    directories = {} if out is None else make_directories(out, loaded)
    found: dict[str, Found] = {}
    for name, model in loaded.items():
        with Console(stderr=True).status(f"verifying {name}"):
            jointly = evaluate_jointly(
                model, n_pairs=n_pairs, n_interventions=n_interventions, n_runs=n_runs, seed=seed
            )
            alone = validate_model(model, n_pairs=n_pairs, seed=seed)
            edges = certify_model(
                model, n_pairs=n_pairs, n_random=n_sets, n_runs=edge_runs, seed=seed
            )
        found[name] = alone, jointly, edges
    if as_json:
        rows = [_as_json(name, loaded[name], one) for name, one in found.items()]
        print(to_json(rows, indent=1))
    else:
        _print_tables(loaded, found)
    for name, directory in directories.items():
        if not found[name][1].has_effects:
            continue
        drawing = directory / "node_effects.png"
        draw_effects(loaded[name], found[name][1], drawing)
        if not as_json:
            console.print(f"effects of the nodes of model {name}: {drawing}", highlight=False)
    return 0


def _as_json(name: str, model: "BenchmarkModel", found: "Found") -> dict[str, Any]:
    jointly = found[1]
    return {
        "model": name,
        "case": model.case,
        "metrics": found[0] | jointly.metrics,
        "held_out": jointly.held_out,
        "pairs": jointly.statement,
        "joint_pairs": jointly.n_pairs,
        "leakage_per_position": jointly.leakage_per_position,
        "leakage_of_position": jointly.leakage_of_position,
        "worst": jointly.worst,
        "circuit_accuracy": jointly.circuit_accuracy,
        "edges": found[2].describe(),
        "node_effects": jointly.effect_rows(model),
    }


def _print_tables(models: Mapping[str, "BenchmarkModel"], found: Mapping[str, "Found"]) -> None:
    from interpbench_jax.cli.certificates import print_certificates

    def of_models(title: str, headers: Sequence[str], rows: Sequence[Mapping[Any, Any]]) -> None:
        named = zip(found, rows, strict=True)
        cells = [(name, *(_number(value) for value in row.values())) for name, row in named]
        print_table(title, ("model", *headers), cells)

    print_metrics({name: alone for name, (alone, _, _) in found.items()})
    for name, (_, jointly, _) in found.items():
        console.print(f"model {name}: {jointly.statement}", highlight=False, soft_wrap=True)
    print_certificates({name: edges for name, (_, _, edges) in found.items()})
    joint = [jointly for _, jointly, _ in found.values()]
    of_models(
        "Many nodes patched at once: targets missed (leakage) and met (abstraction)",
        ("pairs", "leakage", "worst", "worst\nposition", "patched\nat one", "abstraction", "worst"),
        [{"pairs": jointly.n_pairs, **jointly.metrics} for jointly in joint],
    )
    of_models(
        "Accuracy of the circuit alone, everything else ablated",
        [kind.replace("_", " ") for kind in joint[0].circuit_accuracy],
        [jointly.circuit_accuracy for jointly in joint],
    )
    for (name, model), jointly in zip(models.items(), joint, strict=True):
        if not jointly.has_effects:
            console.print(
                f"No effect of a node of model {name} can be measured: no target differs between"
                " base and source. Draw more pairs.",
                highlight=False,
            )
            continue
        rows = jointly.effect_rows(model)
        for form in (form for form in _FORMS if form in rows[0]):
            cells = [
                (row["node"], "yes" if row["in_circuit"] else "", *map(_number, row[form].values()))
                for row in rows
            ]
            title = f"Ablating each node of model {name}: {_FORMS[form]}"
            kinds = [kind.replace("_", " ") for kind in rows[0][form]]
            print_table(title, ("node", "in circuit", *kinds), cells)


def _number(value: int | float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.4f}"
