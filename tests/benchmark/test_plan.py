"""What is planned, under which names, and by whom it is done."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from interpbench_jax.benchmark import ModelSource, Run, make_plan, share_of
from interpbench_jax.benchmark.plan import bundled_models, compiled_models, stored_models
from interpbench_jax.discovery import DISCOVERY_ABLATIONS
from interpbench_jax.zoo import bundled_names
from interpbench_jax.zoo.store import BUNDLED


def source(name: str, *, shape: str = "2x4", fingerprint: str = "f") -> ModelSource:
    return ModelSource(
        name=name, case=name, directory=f"/{name}", fingerprint=fingerprint, shape=shape
    )


def plan(*shapes: str) -> list[Run]:
    models = [source(str(place), shape=shape) for place, shape in enumerate(shapes)]
    return make_plan(models, ("eap", "acdc"), ("resample", "mean"), (0, 1), 10)


def test_every_combination_is_run_once() -> None:
    runs = plan("a", "b", "a")
    assert len(runs) == len({run.id for run in runs}) == 3 * 2 * 2 * 2
    assert len({run.compile_group for run in runs}) == 2 * 2


def test_models_of_one_shape_and_runs_on_one_batch_are_neighbours() -> None:
    runs = plan("a", "b", "a")
    assert [run.model.name for run in runs[::8]] == ["0", "2", "1"]
    assert [(run.ablation, run.seed, run.method) for run in runs[:3]] == [
        ("resample", 0, "eap"),
        ("resample", 0, "acdc"),
        ("resample", 1, "eap"),
    ]


def test_an_id_tells_what_was_run_and_depends_on_nothing_else() -> None:
    run = plan("a")[0]
    assert run.id.startswith("0-eap-resample-0-")
    elsewhere = replace(run.model, directory="/elsewhere", shape="other")
    assert replace(run, model=elsewhere).id == run.id
    retrained = replace(run.model, fingerprint="g")
    others = [
        replace(run, model=retrained),
        replace(run, method="acdc"),
        replace(run, method_version="new"),
        replace(run, ablation="zero"),
        replace(run, seed=1),
        replace(run, n_inputs=11),
    ]
    assert len({run.id, *(other.id for other in others)}) == 7
    own = replace(run, method="mine.methods:../best one")
    assert own.id.startswith("0-mine.methods.best.one-") or "/" not in own.id


@pytest.mark.parametrize("parts", [1, 2, 3, 7, 100])
def test_shares_are_the_plan(parts: int) -> None:
    runs = plan("a", "b", "a")
    shares = [share_of(runs, f"{place}/{parts}") for place in range(parts)]
    assert [run for share in shares for run in share] == runs
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize("share", ["2/2", "0/0", "1", "-1/2", "a/b", "0/2/3", ""])
def test_bad_shares_are_refused(share: str) -> None:
    with pytest.raises(ValueError, match="a share is 0/4"):
        share_of(plan("a"), share)


def test_bad_plans_are_refused() -> None:
    model = source("3")
    with pytest.raises(ValueError, match="at least one method"):
        make_plan([model], (), ("mean",), (0,), 10)
    with pytest.raises(ValueError, match="seed given twice: 1"):
        make_plan([model], ("eap",), ("mean",), (1, 0, 1), 10)
    with pytest.raises(ValueError, match="unknown ablation 'median'; known: resample, mean"):
        make_plan([model], ("eap",), ("median",), (0,), 10)
    with pytest.raises(ValueError, match="n_inputs must be at least 1, got 0"):
        make_plan([model], ("eap",), ("mean",), (0,), 0)
    with pytest.raises(ValueError, match="seeds must not be negative, got -1"):
        make_plan([model], ("eap",), ("mean",), (-1,), 10)


def test_every_ablation_can_be_planned() -> None:
    runs = make_plan([source("3")], ("eap",), DISCOVERY_ABLATIONS, (0,), 10)
    assert [run.ablation for run in runs] == list(DISCOVERY_ABLATIONS)


def test_bundled_models() -> None:
    assert tuple(model.name for model in bundled_models(())) == bundled_names()
    (three,) = bundled_models(("3",))
    assert (three.case, three.directory) == ("3", str(BUNDLED / "3"))
    with pytest.raises(ValueError, match="no bundled model of case '0'; there are .*3, "):
        bundled_models(("0",))


def test_models_in_directories(tmp_path: Path) -> None:
    within = stored_models([BUNDLED], ("13",))
    assert [model.name for model in within] == [str(BUNDLED / "13")]
    (alone,) = stored_models([BUNDLED / "13"], ())
    assert alone == within[0]
    with pytest.raises(ValueError, match="no model in "):
        stored_models([tmp_path], ())
    with pytest.raises(ValueError, match="no model of case '5'"):
        stored_models([BUNDLED], ("5",))
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(ValueError, match="does not hold a model"):
        stored_models([tmp_path], ())


def test_compiled_models_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = compiled_models(("3", "4"))
    assert one.name == "3 (compiled)"
    assert len({one.fingerprint, other.fingerprint}) == 2
    assert one.fingerprint != bundled_models(("3",))[0].fingerprint
    with pytest.raises(ValueError, match="unknown case"):
        compiled_models(("0",))


def test_a_change_to_one_s_own_method_is_another_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    file = tmp_path / "versioned_method.py"
    ids = set()
    for text in ("one", "two"):
        file.write_text(f"'{text}'")
        (run,) = make_plan([source("3")], ("versioned_method:find",), ("zero",), (0,), 10)
        ids.add(run.id)
    assert len(ids) == 2
    assert "versioned_method" not in sys.modules  # planning runs nothing of the user's
    with pytest.raises(ValueError, match="no module 'not_there'"):
        make_plan([source("3")], ("not_there:find",), ("zero",), (0,), 10)


def test_planning_needs_no_jax() -> None:
    program = (
        "import sys; from interpbench_jax.cli.benchmark import *; bundled_models(());"
        "print('jax' in sys.modules, 'tracr' in sys.modules, 'matplotlib' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert found.stdout.split() == ["False"] * 3, found.stderr
