"""A user's own file of cases works wherever a built-in name does."""

import os
import subprocess
import sys
from pathlib import Path

OWN = '''
from tracr.rasp import rasp

from interpbench_jax.cases import case


@case("is-b", vocab="abc", n_ctx=4)
def is_b() -> rasp.SOp:
    """Whether each token is b."""
    return rasp.Map(lambda token: token == "b", rasp.tokens).named("is_b")
'''


def interpbench(*arguments: str, cases: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from interpbench_jax.cli import main; main()", *arguments],
        capture_output=True,
        text=True,
        env=os.environ | {"INTERPBENCH_CASES": str(cases)},
        cwd=cases.parent,
    )


def test_own_cases_are_listed_trained_and_evaluated(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text(OWN)
    listed = interpbench("cases", "--json", cases=file)
    assert '"computes": "Whether each token is b"' in listed.stdout, listed.stderr
    quick = ("--max-batches", "2000", "--round-batches", "50", "--batch-size", "64")
    trained = interpbench("train", "is-b", "--out", "models", *quick, cases=file)
    assert "case is-b: reached the threshold" in trained.stdout, trained.stderr
    evaluated = interpbench("evaluate", "models/is-b", "--json", cases=file)
    assert '"case": "is-b"' in evaluated.stdout, evaluated.stderr


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    found = interpbench("cases", cases=tmp_path / "nowhere.py")
    assert found.returncode == 2
    assert "nowhere.py', which is no Python file" in found.stderr
