"""Models on disk: they are read back unchanged, and bad files are refused by name."""

import dataclasses
import json
import os
import re
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
import safetensors.numpy

from interpbench_jax.files import locked
from interpbench_jax.zoo import bundled_names, every_bundled_name, load_model, save_model
from interpbench_jax.zoo.description import FORMAT, describe
from interpbench_jax.zoo.store import BUNDLED, check_place, inspect_model
from tests.models import untrained_model


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    save_model(untrained_model(), tmp_path / "model")
    return tmp_path / "model"


def test_round_trip(stored: Path) -> None:
    model, loaded = untrained_model(), load_model(stored)
    assert loaded.config == model.config
    assert loaded.circuit == model.circuit
    assert loaded.circuit.unobservable == {("input", f"a1.h2<{kind}>") for kind in "qk"}
    assert loaded.variables == model.variables
    assert loaded.card == model.card
    for ours, expected in zip(
        jax.tree.leaves(loaded.params), jax.tree.leaves(model.params), strict=True
    ):
        np.testing.assert_array_equal(ours, expected)
    assert {f.name for f in stored.iterdir()} == {
        "model.safetensors",
        "config.json",
        "circuit.json",
        "card.json",
        "checksums.json",
    }


def test_weights_that_are_not_contiguous_are_stored_in_order(tmp_path: Path) -> None:
    model = untrained_model()
    params = jax.tree.map(np.asfortranarray, model.params)
    save_model(dataclasses.replace(model, params=params), tmp_path / "model")
    jax.tree.map(np.testing.assert_array_equal, load_model(tmp_path / "model").params, params)


def test_saving_again_replaces(stored: Path) -> None:
    save_model(untrained_model("8"), stored)
    assert load_model(stored).case == "8"
    assert [f.name for f in stored.parent.iterdir()] == ["model"]


def test_other_files_are_kept(stored: Path) -> None:
    (stored / "figures").mkdir()
    (stored / "figures" / "roc.svg").write_text("<svg/>")
    save_model(untrained_model("8"), stored)
    assert load_model(stored).case == "8"
    assert (stored / "figures" / "roc.svg").read_text() == "<svg/>"


@pytest.mark.parametrize("file", ["thesis.tex", "config.json"])
def test_a_directory_that_is_not_a_model_is_not_replaced(tmp_path: Path, file: str) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / file).write_text('{"name": "my app"}')
    with pytest.raises(ValueError, match="is not a model; will not replace it"):
        save_model(untrained_model(), tmp_path / "precious")
    assert (tmp_path / "precious" / file).exists()


@pytest.mark.parametrize("interrupted", ["before", "after"])
def test_an_interrupted_save_leaves_a_model(
    stored: Path, monkeypatch: pytest.MonkeyPatch, interrupted: str
) -> None:
    """Ctrl-C may come before or after the old model is moved away."""
    rename = os.rename

    def interrupt(old: Path, new: Path) -> None:
        monkeypatch.undo()
        if interrupted == "after":
            rename(old, new)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "rename", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save_model(untrained_model("8"), stored)
    assert load_model(stored).case == "3"
    assert [f.name for f in stored.parent.iterdir()] == ["model"]


def test_a_save_that_fails_leaves_the_old_model(stored: Path, monkeypatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("safetensors.numpy.save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        save_model(untrained_model("8"), stored)
    assert load_model(stored).case == "3"
    assert [f.name for f in stored.parent.iterdir()] == ["model"]


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-40])


def remove(file: Path) -> None:
    file.unlink()


def foreign(file: Path) -> None:
    if file.suffix == ".json":
        file.write_text('{"hello": 1}')
    else:
        file.write_bytes(b"\x80\x04\x95 a pickle")


@pytest.mark.parametrize("damage", [truncate, remove, foreign])
@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "circuit.json"])
def test_damaged_files_are_named(stored: Path, name: str, damage) -> None:
    damage(stored / name)
    with pytest.raises(ValueError, match=name.replace(".", r"\.")):
        load_model(stored)


def test_weights_that_are_not_finite_are_not_written(stored: Path) -> None:
    before = load_model(stored)
    worse = jax.tree.map(lambda weight: weight * np.nan, before.params)
    with pytest.raises(ValueError, match="holds numbers that are not finite; nothing written"):
        save_model(dataclasses.replace(before, params=worse), stored)
    jax.tree.map(np.testing.assert_array_equal, load_model(stored).params, before.params)


def test_two_processes_do_not_write_one_model_at_a_time(stored: Path) -> None:
    with (
        locked(stored.with_name(f".{stored.name}.saving"), what=stored),
        pytest.raises(ValueError, match="is in use by process"),
    ):
        save_model(untrained_model(), stored)
    save_model(untrained_model(), stored)
    assert [path.name for path in stored.parent.iterdir()] == [stored.name]


def test_weights_of_another_model_are_refused(stored: Path, tmp_path: Path) -> None:
    save_model(untrained_model("8"), tmp_path / "other")
    shutil.copy(tmp_path / "other" / "model.safetensors", stored)
    with pytest.raises(ValueError, match=r"model\.safetensors does not match its checksum"):
        load_model(stored)
    (stored / "checksums.json").unlink()
    with pytest.raises(ValueError, match=r"weight '.*' has shape .* expected"):
        load_model(stored)


def test_circuit_of_another_graph_is_refused(stored: Path) -> None:
    circuit = json.loads((stored / "circuit.json").read_text())
    (stored / "circuit.json").write_text(json.dumps(circuit | {"n_layers": 3}))
    with pytest.raises(ValueError, match=r"circuit\.json does not match its checksum"):
        load_model(stored)
    (stored / "checksums.json").unlink()
    with pytest.raises(ValueError, match="circuit.json is for TransformerGraph"):
        load_model(stored)


def test_unknown_model_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="no model 'nowhere': neither bundled"):
        load_model("nowhere")


def test_a_model_of_earlier_versions_has_no_checksums(stored: Path) -> None:
    (stored / "checksums.json").unlink()
    assert load_model(stored).case == "3"


@pytest.mark.parametrize("place", ["loop", "file/model", "/proc/model"])
def test_directories_that_are_not_writable(tmp_path: Path, place: str) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="exists and is not a model|cannot write to"):
        check_place(tmp_path / place)
    assert {f.name for f in tmp_path.iterdir()} == {"loop", "file"}


def test_all_bundled_models_together_are_small() -> None:
    assert sum(file.stat().st_size for file in BUNDLED.rglob("*") if file.is_file()) < 30e6


def test_weights_are_put_on_the_device_unless_told_otherwise() -> None:
    on_device, on_host = load_model("3"), load_model("3", on_device=False)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(on_device.params))
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(on_host.params))
    jax.tree.map(np.testing.assert_array_equal, on_device.params, on_host.params)


def test_every_bundled_model_has_its_checksums() -> None:
    for name in every_bundled_name():
        load_model(name)
        assert (BUNDLED / name / "checksums.json").exists()


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if place % 10 == 0 else pytest.mark.slow)
        for place, name in enumerate(bundled_names())
    ],
)
def test_bundled_models_load_and_run(name: str, run) -> None:
    model = load_model(name)
    tokens = np.zeros((2, model.config.n_ctx), np.int32)
    logits, _ = run(model.params, model.config, tokens)
    assert logits.shape == (2, model.config.n_ctx, model.config.d_vocab_out)
    assert {"accuracy", "iia", "siia"} <= model.card["metrics"].keys()


def test_cases_3_and_13_are_bundled() -> None:
    assert {"3", "13"} <= set(bundled_names())


def test_a_model_prints_its_description() -> None:
    text = repr(load_model("3"))
    assert text.startswith("BenchmarkModel(task '3', 2 layers x 4 heads x 12, circuit of 4 edges, ")
    assert "accuracy 1.0000" in text and "\n" not in text


def with_format(stored: Path, version: object) -> None:
    """Gives a model another format version, and removes its checksums."""
    config = json.loads((stored / "config.json").read_text())
    config.pop("format")
    described = config if version is None else config | {"format": version}
    (stored / "config.json").write_text(json.dumps(described))
    (stored / "checksums.json").unlink(missing_ok=True)


def test_older_formats_are_read(stored: Path) -> None:
    assert inspect_model(stored)[:2] == ("3", FORMAT)
    for version, expected in ((0, 0), (None, 0)):
        with_format(stored, version)
        assert inspect_model(stored).format == expected
        (stored / "config.json").write_text(json.dumps(describe(untrained_model())))


@pytest.mark.parametrize(
    ("version", "message"),
    [
        (FORMAT + 1, f"format is {FORMAT + 1}, this version of the package reads up to {FORMAT}"),
        (10**30, "format is 1000000000.*reads up to"),
        (-1, "format is -1, expected a version"),
        (True, "format is True, expected a version"),
        ("1", "format is '1', expected a version"),
        (1.0, "format is 1.0, expected a version"),
    ],
)
def test_newer_formats_are_refused_by_their_number(stored: Path, version, message: str) -> None:
    with_format(stored, version)
    with pytest.raises(ValueError, match=message):
        load_model(stored)


def test_a_newer_format_is_refused_before_its_fields_are_read(stored: Path) -> None:
    (stored / "config.json").write_text('{"format": 99, "something": "new"}')
    (stored / "checksums.json").unlink()
    with pytest.raises(ValueError, match="upgrade the package to read it"):
        load_model(stored)


def test_every_field_is_documented(stored: Path) -> None:
    text = (BUNDLED.parent / "README.md").read_text()
    records = [json.loads((stored / f"{name}.json").read_text()) for name in ("config", "circuit")]
    fields = {
        *records[0],
        *records[1],
        *records[0]["model"],
        *records[0]["data"],
        *records[0]["variables"][0],
    }
    assert all(re.search(rf"`[^`]*\b{field}\b[^`]*`", text) for field in fields)
    weights = safetensors.numpy.load_file(stored / "model.safetensors")
    for name in weights:
        assert f"`{name.rsplit('.', 1)[0].replace('.1.', '.N.').replace('.0.', '.N.')}." in text
        assert name.rsplit(".", 1)[1] in text
