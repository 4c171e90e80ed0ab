"""The README's example prints the output shown; lists and counts are complete."""

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PACKAGE = ROOT / "interpbench_jax"


def test_the_example_prints_the_output_shown() -> None:
    match = re.search(r"```python\n(.*?)```\n\nprints\n\n```\n(.*?)```", README, re.DOTALL)
    assert match
    program, printed = match.groups()
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert found.stdout == printed, found.stderr


def test_every_named_command_exists() -> None:
    from interpbench_jax import cli

    assert set(re.findall(r"`interpbench ([a-z]+)", README)) == set(cli.COMMANDS)


def test_every_method_is_described() -> None:
    from interpbench_jax.discovery import METHODS

    table = (PACKAGE / "discovery/README.md").read_text().split("## Methods")[1].split("\n## ")[0]
    cells = re.findall(r"^\| (`[^|]*) \|", table, re.MULTILINE)
    assert set(re.findall(r"`([a-z_]+)`", " ".join(cells))) == set(METHODS)


def test_every_preset_is_described() -> None:
    from interpbench_jax.siit import PRESETS

    text = (PACKAGE / "siit/README.md").read_text()
    section = text.split("## Runs of `interpbench train`")[1].split("\n## ")[0]
    cells = re.findall(r"^\| (`[^|]*) \|", section, re.MULTILINE)
    assert set(re.findall(r"`([a-z0-9-]+)`", " ".join(cells))) == set(PRESETS)


def test_it_is_short() -> None:
    assert len(README.splitlines()) <= 150


def test_counts_are_those_of_the_package() -> None:
    from interpbench_jax.cases import case_names
    from interpbench_jax.discovery import METHODS
    from interpbench_jax.tasks import causal_tasks
    from interpbench_jax.zoo import below_bar, bundled_names
    from interpbench_jax.zoo.store import BUNDLED

    cards = [json.loads((BUNDLED / name / "card.json").read_text()) for name in bundled_names()]
    metrics = [card["metrics"] for card in cards]
    n_tasks = len(case_names()) + len({name.replace("-published", "") for name in causal_tasks()})
    assert len(metrics) == n_tasks
    n_true = sum(not below_bar(found) for found in metrics)
    for claim in (
        f"{n_tasks} tasks with a known algorithm",
        "a small trained transformer for each of them",
        f"{len(METHODS) - 5} discovery methods and five baselines",
        f"{n_true} of {len(metrics)} models agree",
    ):
        assert claim in " ".join(README.split())
    first_page = " ".join((ROOT / "docs" / "index.md").read_text().split())
    assert f"{n_tasks} tasks with a known algorithm" in first_page
    assert f"for each of them, {len(METHODS) - 5} discovery methods, five" in first_page
