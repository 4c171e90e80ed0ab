"""Plans: their runs, ids and shares."""

import inspect
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from interpbench_jax.benchmark import ModelSource, Run, Store, execute, make_plan, share_of
from interpbench_jax.benchmark import plan as plan_module
from interpbench_jax.benchmark.own_method import find_method
from interpbench_jax.benchmark.plan import (
    bundled_models,
    compiled_models,
    named_model,
    shared_vocabulary,
    stored_models,
)
from interpbench_jax.cases import registry
from interpbench_jax.discovery import DISCOVERY_ABLATIONS
from interpbench_jax.tasks import own_files
from interpbench_jax.zoo import bundled_names, load_model
from interpbench_jax.zoo.store import BUNDLED


def source(name: str, *, shape: str = "2x4", fingerprint: str = "f") -> ModelSource:
    return ModelSource(
        name=name, case=name, directory=f"/{name}", fingerprint=fingerprint, shape=shape
    )


def plan(*shapes: str) -> list[Run]:
    models = [source(str(place), shape=shape) for place, shape in enumerate(shapes)]
    return make_plan(models, ("eap", "acdc"), ("resample", "mean"), (0, 1), (10,))


def test_every_combination_is_run_once() -> None:
    runs = plan("a", "b", "a")
    assert len(runs) == len({run.id for run in runs}) == 3 * 2 * 2 * 2
    assert len({run.compile_group for run in runs}) == 2 * 2


def test_models_of_one_shape_and_runs_on_one_batch_are_adjacent() -> None:
    runs = plan("a", "b", "a")
    assert [run.model.name for run in runs[::8]] == ["0", "2", "1"]
    assert [(run.ablation, run.seed, run.method) for run in runs[:3]] == [
        ("resample", 0, "eap"),
        ("resample", 0, "acdc"),
        ("resample", 1, "eap"),
    ]


def test_an_id_depends_only_on_the_run() -> None:
    run = plan("a")[0]
    assert run.id.startswith("0-eap-resample-0-")
    elsewhere = replace(run.model, name="../0", directory="/elsewhere", shape="other")
    assert replace(run, model=elsewhere).id == run.id
    retrained = replace(run.model, fingerprint="g")
    others = [
        replace(run, model=retrained),
        replace(run, method="acdc"),
        replace(run, method_version="new"),
        replace(run, environment="new"),
        replace(run, ablation="zero"),
        replace(run, seed=1),
        replace(run, n_inputs=11),
    ]
    assert len({run.id, *(other.id for other in others)}) == 8
    own = replace(run, method="here/mine.py:best one")
    assert own.id.startswith("0-mine.py.best.one-")
    assert replace(run, method="/there/mine.py:best one").id == own.id


@pytest.mark.parametrize("parts", [1, 2, 3, 7, 100])
def test_shares_add_up_to_the_plan(parts: int) -> None:
    runs = plan("a", "b", "a")
    shares = [share_of(runs, f"{place}/{parts}") for place in range(parts)]
    assert [run for share in shares for run in share] == runs
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize("share", ["2/2", "0/0", "1", "-1/2", "a/b", "0/2/3", ""])
def test_bad_shares_are_refused(share: str) -> None:
    with pytest.raises(ValueError, match="a share must be one of"):
        share_of(plan("a"), share)


def test_bad_plans_are_refused() -> None:
    model = source("3")
    with pytest.raises(ValueError, match="at least one method"):
        make_plan([model], (), ("mean",), (0,), (10,))
    with pytest.raises(ValueError, match="seed given twice: 1"):
        make_plan([model], ("eap",), ("mean",), (1, 0, 1), (10,))
    with pytest.raises(ValueError, match="unknown ablation 'median'; known: resample, mean"):
        make_plan([model], ("eap",), ("median",), (0,), (10,))
    with pytest.raises(ValueError, match="n_inputs must be at least 1, got 0"):
        make_plan([model], ("eap",), ("mean",), (0,), (0,))
    with pytest.raises(ValueError, match="n_inputs must be whole numbers, got 200.5"):
        inspect.unwrap(make_plan)([model], ("eap",), ("mean",), (0,), (200.5,))
    for seed in (-1, 2**32, True):  # the second has the same key as 0
        with pytest.raises(ValueError, match=rf"a seed must be .* below 2\*\*32, got {seed}"):
            make_plan([model], ("eap",), ("mean",), (seed,), (10,))
    with pytest.raises(ValueError, match="methods must be a sequence of names, got 'eap'"):
        make_plan([model], "eap", ("mean",), (0,), (10,))
    with pytest.raises(ValueError, match="model given twice: 4, which is the same as 3"):
        make_plan([model, replace(model, name="4")], ("eap",), ("mean",), (0,), (10,))


def test_every_ablation_can_be_planned() -> None:
    runs = make_plan([source("3")], ("eap",), DISCOVERY_ABLATIONS, (0,), (10,))
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
    with pytest.raises(ValueError, match="no model of case '0'"):
        stored_models([BUNDLED], ("0",))
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(ValueError, match="does not hold a model"):
        stored_models([tmp_path], ())


def test_two_paths_to_one_model_give_one_id(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(BUNDLED)
    (by_name,), (by_path,) = stored_models([Path("3")], ()), stored_models([BUNDLED / "3"], ())
    (bundled,) = bundled_models(("3",))
    assert (by_name.name, by_path.name) == ("./3", str(BUNDLED / "3"))
    ids = {
        make_plan([model], ("eap",), ("zero",), (0,), (10,))[0].id
        for model in (by_name, by_path, bundled)
    }
    assert len(ids) == 1


def test_an_id_covers_the_code_the_libraries_and_the_device(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def environment_with(**versions: str) -> str:
        with monkeypatch.context() as patched:
            known = plan_module.version
            patched.setattr(plan_module, "version", lambda name: versions.get(name) or known(name))
            return plan_module.environment.__wrapped__()

    before = environment_with()
    (run,) = make_plan([source("3")], ("eap",), ("zero",), (0,), (10,))
    assert run.environment == before
    assert environment_with(jax="99.0") != before
    for place in ("discovery/eap.py", "scoring/roc.py", "model/forward.py", "cases/programs"):
        assert any(place.startswith(code) for code in plan_module._CODE)
    with monkeypatch.context() as patched:
        patched.setattr(plan_module, "_CODE", plan_module._CODE[1:])
        assert environment_with() != before


OWN_CASE = """
from tracr.rasp import rasp
from interpbench_jax.cases import case

@case("mine", vocab="ab", n_ctx=4)
def mine():
    return rasp.Map(lambda t: t == "{letter}", rasp.tokens)
"""


def test_a_changed_own_case_is_another_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even with the same weights; models of unknown cases are not run."""
    monkeypatch.delenv("INTERPBENCH_CASES", raising=False)
    shutil.copytree(BUNDLED / "3", tmp_path / "model")
    config = tmp_path / "model" / "config.json"
    config.write_text(config.read_text().replace('"case": "3"', '"case": "mine"'))
    with pytest.raises(ValueError, match="to INTERPBENCH_CASES: unknown case 'mine'"):
        stored_models([tmp_path], ())
    (three,) = stored_models([BUNDLED, tmp_path], ("3",))  # other cases do not matter
    assert three.name == str(BUNDLED / "3")

    monkeypatch.setattr(registry, "_CASES", {})
    monkeypatch.setattr(own_files, "_LOADED", set())
    known = dict(registry._CASES)
    fingerprints = set()
    for letter in "ab":
        (tmp_path / f"{letter}.py").write_text(OWN_CASE.format(letter=letter))
        monkeypatch.setenv("INTERPBENCH_CASES", str(tmp_path / f"{letter}.py"))
        for model in (*stored_models([tmp_path], ()), *compiled_models(("mine",))):
            fingerprints.add(model.fingerprint)
        registry._CASES.clear()
        registry._CASES.update(known)
    assert len(fingerprints) == 4


def test_compiled_models_are_distinguished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = compiled_models(("3", "4"))
    assert one.name == "3 (compiled)"
    assert len({one.fingerprint, other.fingerprint}) == 2
    assert one.fingerprint != bundled_models(("3",))[0].fingerprint
    with pytest.raises(ValueError, match="unknown case"):
        compiled_models(("0",))


def test_a_changed_own_method_is_another_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    file = tmp_path / "versioned_method.py"
    ids = set()
    for text in ("one", "two"):
        file.write_text(f"'{text}'")
        (run,) = make_plan([source("3")], ("versioned_method:find",), ("zero",), (0,), (10,))
        ids.add(run.id)
        (tmp_path / "helper_of_it.py").write_text(f"'{text}'")
        file.write_text("import helper_of_it")
        (run,) = make_plan([source("3")], ("versioned_method:find",), ("zero",), (0,), (10,))
        ids.add(run.id)
        by_file = [
            make_plan([source("3")], (f"{place}/versioned_method.py:find",), ("zero",), (0,), (10,))
            for place in (".", tmp_path)
        ]
        assert by_file[0][0].id == by_file[1][0].id
    assert len(ids) == 4
    assert "versioned_method" not in sys.modules  # planning does not run the user's code
    with pytest.raises(ValueError, match="there is no file 'not_there.py'"):
        make_plan([source("3")], ("not_there.py:find",), ("zero",), (0,), (10,))
    with pytest.raises(ValueError, match="no module 'not_there'"):
        make_plan([source("3")], ("not_there:find",), ("zero",), (0,), (10,))


def test_a_changed_own_method_is_imported_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if only a module beside it has changed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # which is looked up by the second
    file, helper = tmp_path / "edited_method.py", tmp_path / "helper_of_edited.py"
    for name in ("edited_method:find", "edited_method.py:find"):
        found = []
        for number, more in ((1, ""), (2, ""), (2, "\n\ndef other(): ...")):
            helper.write_text(f"NUMBER = {number}")
            file.write_text(f"import helper_of_edited as h\n\ndef find(): return h.NUMBER{more}")
            assert find_method(name) is find_method(name)
            found.append(find_method(name)())
        assert found == [1, 2, 2]


def test_a_name_that_starts_with_a_symbol_gives_no_hidden_file() -> None:
    (run,) = make_plan([source("#1")], ("eap",), ("zero",), (0,), (10,))
    assert run.id.startswith("1-eap-zero-0-")


def test_tasks_without_a_program_have_no_compiled_model() -> None:
    with pytest.raises(ValueError, match="task 'ioi' has no compiled model"):
        compiled_models(("3", "ioi"))
    with pytest.raises(ValueError, match="task 'ioi-published' has no compiled model"):
        compiled_models(("ioi-published",))


def test_a_path_is_not_the_name_of_a_bundled_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(BUNDLED / "8", tmp_path / "3")
    monkeypatch.chdir(tmp_path)
    assert (named_model("3").case, named_model("3").name) == ("3", "3")
    for path in ("./3", "3/"):
        found = named_model(path)
        assert (found.case, found.name, found.directory) == ("8", "./3", "3")
        assert load_model(path).case == "8"
    # A `Path` has no "./", and is a directory all the same; so a run gets the planned model.
    assert load_model(Path("3")).case == "8"
    (run,) = make_plan([named_model("./3")], ("weight_magnitude",), ("zero",), (0,), (2,))
    (row,) = execute([run], Store(tmp_path / "results"))
    assert row["status"] == "done", row["error"]
    facts = Store(tmp_path / "results").read_model(run.model.fingerprint)
    assert facts["case"] == "8"
    with pytest.raises(ValueError, match=r"no model './4'"):
        named_model("./4")


def test_the_names_of_ablations_are_those_of_discovery() -> None:
    from interpbench_jax.benchmark.plan import ABLATION_NAMES
    from interpbench_jax.discovery import DISCOVERY_ABLATIONS

    assert ABLATION_NAMES == DISCOVERY_ABLATIONS


def test_planning_needs_no_jax() -> None:
    program = (
        "import sys; from interpbench_jax.cli.benchmark import *; "
        "make_plan(bundled_models(()), ('eap',), ('zero',), (0,), (10,));"
        "print('jax' in sys.modules, 'tracr' in sys.modules, 'matplotlib' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert found.stdout.split() == ["False"] * 3, found.stderr


def test_models_with_different_vocabularies_share_a_shape() -> None:
    sizes = {size: shared_vocabulary(size) for size in (1, 2, 32, 33, 64, 65, 1000)}
    assert sizes == {1: 1, 2: 32, 32: 32, 33: 64, 64: 64, 65: 128, 1000: 1024}
