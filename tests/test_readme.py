"""The README's example runs and prints what the README says."""

import re
import subprocess
import sys
from pathlib import Path

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_the_example_prints_what_stands_below_it() -> None:
    match = re.search(r"```python\n(.*?)```\n\nprints\n\n```\n(.*?)```", README, re.DOTALL)
    assert match
    program, printed = match.groups()
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert found.stdout == printed, found.stderr


def test_every_command_named_is_there() -> None:
    from interpbench_jax import cli

    assert set(re.findall(r"`interpbench ([a-z]+)", README)) == set(cli.COMMANDS)


def test_every_method_is_described() -> None:
    from interpbench_jax.discovery import METHODS

    section = README.split("## Methods")[1].split("## Measured")[0]
    assert set(re.findall(r"^\| `([a-z_]+)` \|", section, re.MULTILINE)) == set(METHODS)


def test_every_preset_is_described() -> None:
    from interpbench_jax.siit import PRESETS

    section = README.split("## Training")[1].split("## Ideas")[0]
    cells = re.findall(r"^\| (`[^|]*) \|", section, re.MULTILINE)
    assert set(re.findall(r"`([a-z0-9-]+)`", " ".join(cells))) == set(PRESETS)
