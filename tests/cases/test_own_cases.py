"""Cases in a user's file work wherever built-in cases do."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tracr.rasp import rasp

from interpbench_jax.cases import Case, case, get_case, registry
from interpbench_jax.cli import main
from interpbench_jax.compiler import compile_case
from interpbench_jax.tasks import own_files

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


def test_own_cases_are_listed_trained_and_evaluated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "own.py"
    file.write_text(OWN)
    listed = interpbench("cases", "--json", cases=file)
    assert '"computes": "Whether each token is b"' in listed.stdout, listed.stderr
    monkeypatch.setenv("INTERPBENCH_CASES", str(file))  # the rest in this process, which is faster
    quick = (
        *("--max-batches", "2000", "--round-batches", "50", "--batch-size", "64"),
        *("--edge-rows", "8192", "--checked-sets", "8", "--checked-pairs", "32"),
    )
    main(["train", "is-b", "--out", str(tmp_path / "models"), *quick])
    assert "case is-b: reached the threshold" in capsys.readouterr().out
    few = ("--n-sets", "20", "--edge-runs", "2000", "--n-pairs", "500")
    main(["evaluate", str(tmp_path / "models" / "is-b"), *few, "--json"])
    assert '"case": "is-b"' in capsys.readouterr().out


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    found = interpbench("cases", cases=tmp_path / "nowhere.py")
    assert found.returncode == 2
    assert "nowhere.py', which is not a Python file" in found.stderr


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Removes what a test registered afterwards."""
    get_case("3")  # loads the built-in cases
    monkeypatch.setattr(registry, "_CASES", dict(registry._CASES))
    monkeypatch.setattr(own_files, "_LOADED", set())


def define(cell: str) -> None:
    """Runs a cell of a notebook."""
    exec(cell, {"__name__": "__main__"})


def test_a_cell_can_be_run_twice() -> None:
    define(OWN)
    first = get_case("is-b")
    assert compile_case("is-b").codec.outputs == (False, True)
    define(OWN)
    define(OWN.replace('token == "b"', 'token + "!"').replace("Whether", "Not whether"))
    assert get_case("is-b") != first
    assert get_case("is-b").title == "Not whether each token is b"
    assert compile_case("is-b").codec.outputs == ("a!", "b!", "c!")


def test_a_name_is_not_taken_from_another_function() -> None:
    define(OWN)
    with pytest.raises(ValueError, match="'is-b' is already defined, .* by __main__.is_b"):
        define(OWN.replace("def is_b", "def is_letter_b"))
    with pytest.raises(ValueError, match="case '3' is already defined, as 'Running fraction"):
        define(OWN.replace('"is-b"', '"3"'))


def test_one_decorator_can_register_twice() -> None:
    def program() -> rasp.SOp:
        return rasp.Map(str.upper, rasp.tokens)

    register = case("upper", vocab="ab")
    register(program)
    register(program)
    assert get_case("upper").vocab == ("a", "b")


def test_a_file_may_have_dataclasses_with_postponed_annotations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "own.py"
    sizes = "@dataclass\nclass Size:\n    n_ctx: int = 4\n\n\n"
    header = "from __future__ import annotations\n\nfrom dataclasses import dataclass\n"
    file.write_text(header + OWN.replace("@case", sizes + "@case").replace("=4", "=Size().n_ctx"))
    monkeypatch.setenv("INTERPBENCH_CASES", str(file))
    assert get_case("is-b").n_ctx == 4
    monkeypatch.setenv("INTERPBENCH_CASES", f"{tmp_path}/./own.py")  # the same file
    assert get_case("is-b").n_ctx == 4


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (OWN + "\n1 / 0\n", "fails in line 12: ZeroDivisionError: division by zero"),
        ("def program(:\n", "fails in line 1: SyntaxError: invalid syntax"),
        ("\nimport no_such_package\n", "fails in line 2: ModuleNotFoundError: No module named"),
        (OWN.replace(', vocab="abc"', ""), "fails in line 7: TypeError: .*'vocab'"),
        (OWN.replace("is-b", "../evil"), "fails in line 7: ValueError: case '../evil': a name"),
    ],
    ids=["error", "syntax", "import", "vocab", "name"],
)
def test_an_error_in_a_file_is_one_line(
    content: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "own.py"
    file.write_text(content)
    monkeypatch.setenv("INTERPBENCH_CASES", str(file))
    for _ in range(2):  # the failed file does not count as loaded
        with pytest.raises(ValueError, match=f"names '{file}', which {message}") as error:
            get_case("is-b")
        assert "\n" not in str(error.value)
    file.write_text(OWN)
    assert get_case("is-b").title == "Whether each token is b"


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "a/b",
        "/etc",
        "a\\b",
        "..",
        ".hidden",
        "-x",
        "",
        " a",
        "a\n",
        "a\0",
        "x" * 101,
        "名" * 34,
        3,
    ],
)
def test_a_name_must_be_valid_in_a_file_name(name: str, no_shape_checks) -> None:
    with pytest.raises(ValueError, match="a name must be a valid file name"):
        Case(name=name, title="", program=lambda: rasp.tokens, vocab=("a",))


@pytest.mark.parametrize("vocab", [((1, 2), "a"), (None,), (float("nan"),)])
def test_tokens_are_plain_values(vocab: tuple, no_shape_checks) -> None:
    with pytest.raises(ValueError, match="tokens must be str, int, float or bool"):
        Case(name="mine", title="", program=lambda: rasp.tokens, vocab=vocab)


def test_filters_know_own_cases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is in neither published list, and has no head and 250 parameters."""
    from interpbench_jax.cli import main

    file = tmp_path / "own.py"
    file.write_text(OWN)
    monkeypatch.setenv("INTERPBENCH_CASES", str(file))
    for filters, listed in [
        ([], True),
        (["--paper"], False),
        (["--published"], False),
        (["--attention"], False),
        (["--max-params", "900"], True),
        (["--max-params", "100"], False),
    ]:
        main(["cases", "--json", *filters])
        assert ('"is-b"' in capsys.readouterr().out) == listed, filters
