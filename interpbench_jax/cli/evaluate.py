"""`interpbench evaluate`."""

import json
from typing import Annotated

import tyro

from interpbench_jax.cli.output import need_some, print_metrics, print_table


def evaluate(
    models: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="MODEL...")],
    *,
    n_pairs: int = 5_000,
    seed: int = 1,
    as_json: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> None:
    """Verify models: accuracy, IIA, SIIA and the effect of every node.

    Args:
      models: bundled models by name, or directories.
      n_pairs: (base, source) pairs to draw.
      seed: which pairs.
      as_json: print JSON instead of tables.
    """
    from interpbench_jax.benchmark import verify_model
    from interpbench_jax.zoo import load_model

    need_some(models, "model")
    loaded = [load_model(name) for name in models]
    found = [verify_model(model, n_pairs=n_pairs, seed=seed) for model in loaded]
    effects = [one.rows(model) for one, model in zip(found, loaded, strict=True)]
    if as_json:
        rows = zip(loaded, found, effects, strict=True)
        keys = ("case", "metrics", "node_effects")
        values = [(model.case, one.metrics, by_node) for model, one, by_node in rows]
        print(json.dumps([dict(zip(keys, row, strict=True)) for row in values], indent=1))
        return
    print_metrics([(model.case, one.metrics) for model, one in zip(loaded, found, strict=True)])
    headers = ("node", "in circuit", "accuracy", "KL", "KL-self")
    for model, by_node in zip(loaded, effects, strict=True):
        cells = [tuple("" if v is None else v for v in row.values()) for row in by_node]
        print_table(f"Effect of patching each node, case {model.case}", headers, cells)
