"""What plain IIT, SIIT by nodes and training by edges leave open, on bundled models.

Verifies models of the same cases and three presets on held-out sequences: accuracy, IIA, SIIA,
leakage (free nodes patched together) and abstraction (variables interchanged while free nodes are
patched). Prints a Markdown table, then one JSON line.

    python benchmarks/siit_against_iit.py --cases 3 13 --out out/siit-against-iit
"""

from functools import partial
from pathlib import Path
from typing import Any

import tyro
from kept import kept

from interpbench_jax.benchmark.evaluate import evaluate_jointly, validate_model
from interpbench_jax.benchmark.report.tables import to_markdown
from interpbench_jax.files import to_json
from interpbench_jax.zoo import load_model
from interpbench_jax.zoo.store import BundledPreset

COLUMNS = {
    "accuracy": "accuracy",
    "iia_worst": "worst IIA",
    "siia": "SIIA",
    "siia_worst": "worst SIIA",
    "leakage": "leakage",
    "leakage_worst": "worst leakage",
    "abstraction": "abstraction",
    "abstraction_worst": "worst abstraction",
}
"""Column headings by metric."""


def main(
    cases: tuple[str, ...] = ("3", "4", "11", "13", "18"),
    *,
    presets: tuple[BundledPreset, ...] = ("edge-siit", "siit", "iit"),
    n_pairs: int = 5_000,
    out: Path = Path("out/siit-against-iit"),
) -> None:
    """Verify and compare.

    Args:
      cases: names of cases.
      presets: presets of training.
      n_pairs: pairs to verify on.
      out: directory for figures; those it has are not computed again.
    """
    rows = [
        kept(out / name / case / "verified.json", partial(_row, case, name, n_pairs))
        for case in cases
        for name in presets
    ]
    table = [
        {name: row[name] for name in ("case", "preset", "batches")}
        | {heading: f"{row[name]:.4f}" for name, heading in COLUMNS.items()}
        for row in rows
    ]
    print(to_markdown(table), end="")
    print(to_json(rows))


def _row(case: str, name: BundledPreset, n_pairs: int) -> dict[str, Any]:
    model = load_model(case if name == "edge-siit" else f"{name}/{case}")
    metrics = validate_model(model, n_pairs=n_pairs)
    metrics |= evaluate_jointly(model, n_pairs=n_pairs).metrics
    return {"case": case, "preset": name, "batches": model.card["batches"], **metrics}


if __name__ == "__main__":
    tyro.cli(main)
