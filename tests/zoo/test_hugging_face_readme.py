"""The example in the README of `zoo/hugging_face` prints the output shown."""

import contextlib
import io
import re
from pathlib import Path

import jax

import interpbench_jax.zoo.hugging_face
from interpbench_jax.zoo.hugging_face.families import FAMILIES

README = (Path(interpbench_jax.zoo.hugging_face.__file__).parent / "README.md").read_text()
ROOT = Path(__file__).parents[2]


def test_the_example(monkeypatch):
    example = r"```python\n(.*?)```\n\nprints\n\n```\n(.*?)```"
    [(program, shown)] = re.findall(example, README, re.DOTALL)
    monkeypatch.chdir(ROOT)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), jax.numpy_rank_promotion("allow"):
        exec(program, {"__name__": __name__})
    assert printed.getvalue() == shown


def test_every_family_is_described():
    section = README.split("## Families")[1].split("## What is refused")[0]
    cells = re.findall(r"^\| (`[^|]*) \|", section, re.MULTILINE)[1:]
    assert set(re.findall(r"`(\w+)`", " ".join(cells))) == set(FAMILIES)
