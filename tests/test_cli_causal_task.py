"""The user-defined causal task of the README works in every command."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
import pytest

import interpbench_jax as ib
import interpbench_jax.tasks
from interpbench_jax.cli import main
from interpbench_jax.tasks import own_files
from interpbench_jax.tasks.causal import registry

README = (Path(interpbench_jax.tasks.__file__).parent / "README.md").read_text()
NAME = "greater-than"
FEW = (
    *("--max-batches", "60", "--round-batches", "30", "--batch-size", "32", "--n-pairs", "3000"),
    *("--edge-rows", "2048", "--checked-sets", "4", "--checked-pairs", "16"),
)


@pytest.fixture(scope="module")
def years(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The README's file, registered for the command line."""
    folder = tmp_path_factory.mktemp("own")
    found = re.search(r"```py\n(.*?)```", README, re.DOTALL)
    assert found
    file = folder / "years.py"
    file.write_text(found[1])
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv(own_files.OWN_CASES, str(file))
        patched.setattr(own_files, "_LOADED", set())
        patched.setattr(registry, "_OWN", {})
        yield folder


@pytest.fixture(scope="module")
def trained(years: Path) -> Path:
    """A model of it, trained very briefly."""
    main(["train", NAME, *FEW, "--out", str(years / "models")])
    return years / "models" / NAME


def test_the_algorithm_answers_as_described(years: Path) -> None:
    task = ib.get_task(NAME)
    tokens = np.array([[1, 9, 2, 0, 10], [2, 0, 1, 9, 10], [2, 0, 2, 0, 10]])
    nothing = np.zeros((1, 4, 1))
    assert task.answers(tokens, tokens, nothing)[0, :, -1].tolist() == [1, 0, 0]
    second = np.zeros((1, 4, 1))
    second[0, task.circuit.graph.writer_index("second")] = 1
    # 19 < 19, 20 < 20, and 20 < 19 with the second year of the next input.
    assert task.answers(tokens, tokens[[1, 2, 1]], second)[0, :, -1].tolist() == [0, 0, 0]
    assert task.answers(tokens, tokens[[0, 0, 1]][:, ::1], second)[0, :, -1].tolist() == [1, 0, 0]


def test_it_is_listed_and_shown(years: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["cases", "--json"])
    rows = {row["case"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows[NAME]["shape"] == "2x4x32" and rows["ioi"]["edges"].startswith("10/")
    main(["cases", "show", NAME, "--json", "--out", str(years / "cases")])
    (facts,) = json.loads(capsys.readouterr().out)
    assert facts["variables"] == {"a0.h0": ["first"], "a0.h1": ["second"], "m1": ["later"]}
    assert "later at m1 reads first, second" in facts["program"]
    assert (years / "cases" / f"{NAME}.svg").exists()


def test_the_model_on_disk_is_complete(trained: Path) -> None:
    model = ib.load_model(trained)
    assert model.task.name == NAME and model.data.fingerprint == model.task.fingerprint
    assert model.data.held_out == 0.2
    assert model.alignment.circuit == model.circuit
    assert model.circuit.head_edges == {
        *(("input", "a0.h0"), ("input", "a0.h1")),
        *(("a0.h0", "m1"), ("a0.h1", "m1"), ("m1", "logits")),
    }
    assert json.loads((trained / "card.json").read_text())["case"] == NAME
    logits, _ = ib.forward(model.params, model.config, np.array([[1, 9, 2, 0, 10]]))
    assert model.task.decode(logits)[0][-1] == logits[0, -1].argmax()


@pytest.mark.slow
def test_it_is_evaluated_searched_and_reported(
    trained: Path, years: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = ["--n-pairs", "300", "--n-runs", "20000", "--edge-runs", "20000"]
    main(["evaluate", str(trained), *few, "--json"])
    (row,) = json.loads(capsys.readouterr().out)
    assert 0 < row["metrics"]["accuracy"] <= 1 and row["held_out"] is True
    main(["discover", str(trained), "--methods", "eap", "--n-inputs", "50",
          "--loss", "logit_difference", "--out", str(years / "discover")])  # fmt: skip
    main(["benchmark", "--models", str(trained), "--methods", "eap", "acdc", "--n-inputs", "50",
          "--out", str(years / "results")])  # fmt: skip
    main(["report", str(years / "results")])
    page = (years / "results" / "report" / "index.html").read_text()
    assert NAME in page and "later at m1 reads first, second" in page


def test_contrasts_are_those_of_the_task(trained: Path) -> None:
    model = ib.load_model(trained)
    batch = ib.benchmark.make_contrast(model, 0, n_inputs=20)
    assert batch.corrupted is not None
    for start in (0, 2):  # both years are drawn anew, so that patches reveal both heads
        years_differ = (
            batch.clean[:, start : start + 2] != batch.corrupted[:, start : start + 2]
        ).any(1)
        assert years_differ.mean() > 0.8
    assert (batch.corrupted[:, 4] == 10).all()
    assert (np.asarray(batch.positions) == [0, 0, 0, 0, 1]).all()
    tokens = np.asarray(batch.clean)
    later = 10 * tokens[:, 2] + tokens[:, 3] > 10 * tokens[:, 0] + tokens[:, 1]
    np.testing.assert_array_equal(batch.target[:, -1], later)


def test_lengths_are_for_programs(years: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(["train", NAME, "--min-length", "2", "--out", str(years / "no")])
    assert exit_info.value.code == 2
    assert f"task {NAME} is a causal model" in capsys.readouterr().err


def test_parts_of_a_causal_task_share_no_input(years: Path) -> None:
    task = ib.get_task(NAME)
    split = task.split(0.2)
    parts = [
        {row.tobytes() for side in pairs[:2] for row in np.ascontiguousarray(side)}
        for pairs in (
            task.pairs(split, part, 500, jax.random.key(0))
            for part in ("train", "validation", "test")
        )
    ]
    assert all(len(part) > 300 for part in parts)
    assert len(set.union(*parts)) == sum(map(len, parts))
