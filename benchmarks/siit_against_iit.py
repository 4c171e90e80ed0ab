"""The effect of the strict loss: models trained by SIIT compared with models trained by IIT alone.

Takes bundled models; for other cases it trains one with each preset, and resumes after an
interruption. Verifies them on held-out sequences: accuracy, IIA, SIIA, leakage (free nodes patched
together) and abstraction (variables interchanged while free nodes are patched).
Prints a Markdown table, then one JSON line.

    python benchmarks/siit_against_iit.py --cases 3 13 --out out/siit-against-iit
"""

import json
from pathlib import Path

import tyro

from interpbench_jax.benchmark.verify import verify_jointly, verify_model
from interpbench_jax.cli.settings import Overrides
from interpbench_jax.cli.train import train
from interpbench_jax.files import to_json, write_json
from interpbench_jax.zoo import BenchmarkModel, bundled_names, load_model
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
    cases: tuple[str, ...] = ("3", "4", "13", "18", "21", "45", "58", "82", "103"),
    *,
    presets: tuple[BundledPreset, ...] = ("siit", "iit"),
    max_batches: int | None = None,
    n_pairs: int = 5_000,
    out: Path = Path("out/siit-against-iit"),
) -> None:
    """Train, verify, compare.

    Args:
      cases: names of cases.
      presets: presets of training.
      max_batches: maximum number of batches if a model is trained; by default the preset's.
      n_pairs: pairs to verify on.
      out: directory for models and figures; those it has are not computed again.
    """
    rows = [
        _row(case, name, max_batches, n_pairs, out / name) for case in cases for name in presets
    ]
    print("| case | preset | batches | " + " | ".join(COLUMNS.values()) + " |")
    print("|---" * (3 + len(COLUMNS)) + "|")
    for row in rows:
        shown = [f"{row[name]:.4f}" for name in COLUMNS]
        print(f"| {row['case']} | {row['preset']} | {row['batches']} | " + " | ".join(shown) + " |")
    print(to_json(rows))


def _row(case: str, name: BundledPreset, max_batches: int | None, n_pairs: int, out: Path) -> dict:
    file = out / case / "verified.json"
    if file.exists():
        return json.loads(file.read_text())
    model = _model(case, name, max_batches, out)
    metrics = verify_model(model, n_pairs=n_pairs)
    metrics |= verify_jointly(model, n_pairs=n_pairs).metrics
    row = {"case": case, "preset": name, "batches": model.card["batches"], **metrics}
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, row)
    return row


def _model(case: str, name: BundledPreset, max_batches: int | None, out: Path) -> BenchmarkModel:
    bundled = case if name == "edge-siit" else f"{name}/{case}"
    if bundled in bundled_names(name):
        return load_model(bundled)
    overrides = Overrides(max_batches=max_batches)
    train((case,), preset=name, overrides=overrides, resume=True, out=out)
    return load_model(out / case)


if __name__ == "__main__":
    tyro.cli(main)
