"""What plain IIT, SIIT by nodes and training by edges leave open, on bundled models.

Verifies models of the same cases and three presets on held-out sequences: accuracy, IIA, SIIA,
leakage (free nodes patched together) and abstraction (variables interchanged while free nodes are
patched). Prints a Markdown table, then one JSON line.

    python benchmarks/siit_against_iit.py --cases 3 13 --out out/siit-against-iit
"""

import json
from pathlib import Path

import tyro

from interpbench_jax.benchmark.evaluate import evaluate_jointly, validate_model
from interpbench_jax.files import to_json, write_json
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
    rows = [_row(case, name, n_pairs, out / name) for case in cases for name in presets]
    print("| case | preset | batches | " + " | ".join(COLUMNS.values()) + " |")
    print("|---" * (3 + len(COLUMNS)) + "|")
    for row in rows:
        shown = [f"{row[name]:.4f}" for name in COLUMNS]
        print(f"| {row['case']} | {row['preset']} | {row['batches']} | " + " | ".join(shown) + " |")
    print(to_json(rows))


def _row(case: str, name: BundledPreset, n_pairs: int, out: Path) -> dict:
    file = out / case / "verified.json"
    if file.exists():
        return json.loads(file.read_text())
    model = load_model(case if name == "edge-siit" else f"{name}/{case}")
    metrics = validate_model(model, n_pairs=n_pairs)
    metrics |= evaluate_jointly(model, n_pairs=n_pairs).metrics
    row = {"case": case, "preset": name, "batches": model.card["batches"], **metrics}
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, row)
    return row


if __name__ == "__main__":
    tyro.cli(main)
