"""Exports are complete, readable with only NumPy, and refused if a tool cannot use them."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast, get_args

import numpy as np
import pytest
from flax.traverse_util import unflatten_dict

from interpbench_jax.benchmark import make_contrast
from interpbench_jax.benchmark.handed_in import find_files
from interpbench_jax.benchmark.keys import key_of
from interpbench_jax.cli import main
from interpbench_jax.files import write_json
from interpbench_jax.model import forward
from interpbench_jax.zoo import export, load_model
from interpbench_jax.zoo.export import (
    Tool,
    check_export,
    named_tool,
    read_manifest,
    transformer_lens_config,
    write_export,
)
from interpbench_jax.zoo.formats import read_discovered
from interpbench_jax.zoo.mib import mib_name, shortcomings, submission_folder
from tests.golden_files import arrays_of
from tests.model import numpy_reference

FACTS = {"model": "3", "model_id": "abc", "ablation": "resample", "seed": 0, "n_inputs": 20}


@pytest.fixture(scope="module")
def case_3() -> Any:
    model = load_model("3")
    return model, make_contrast(model, key_of(0, "inputs", "3"), n_inputs=20)


@pytest.mark.parametrize("tool", get_args(Tool))
def test_a_folder_is_complete(tmp_path: Path, tool: Tool, case_3: Any) -> None:
    model, batch = case_3
    write_export(model, batch, tmp_path / "3", tool, FACTS)
    files = {file.name for file in (tmp_path / "3").iterdir()}
    scripts = {"load.py", "adapter.py", "run.py", "loss.py"}
    if tool == "auto-circuit":  # it names a loss of its own
        scripts.remove("loss.py")
    arrays = {"weights.npz", "inputs.npz"}
    assert files == scripts | arrays | {"config.json", "circuit.json", "README.md", "export.json"}
    for name in scripts:
        source = (tmp_path / "3" / name).read_text()
        imported = {file for file in scripts if f"from {file.removesuffix('.py')} import" in source}
        assert name == "load.py" or imported
        compile(source, name, "exec")
        assert (
            "interpbench_jax" not in source
        )  # the other tool's environment does not need this package
    manifest = read_manifest(tmp_path / "3")
    assert manifest is not None and manifest.items() >= FACTS.items() and manifest["tool"] == tool
    readme = (tmp_path / "3" / "README.md").read_text()
    assert (
        "--n-inputs 20 --seed 0" in readme and "{" not in readme and "interpbench score" in readme
    )
    truth = read_discovered(tmp_path / "3" / "circuit.json", model)[""]
    assert truth.circuit is not None and truth.circuit.edges == model.circuit.edges


def test_weights_config_and_inputs_are_complete(tmp_path: Path, case_3: Any) -> None:
    """An independent transformer computes the same outputs from only the files."""
    model, batch = case_3
    write_export(model, batch, tmp_path, "transformer-lens", FACTS)
    given = json.loads((tmp_path / "config.json").read_text())
    weights, inputs = arrays_of(tmp_path / "weights.npz"), arrays_of(tmp_path / "inputs.npz")
    nested = {tuple(n.replace("blocks.", "blocks_").split(".")): w for n, w in weights.items()}
    sizes = {name: given[name] for name in ("n_layers", "n_heads", "d_model", "d_head")}
    config = SimpleNamespace(
        **sizes,
        activation={"gelu": "gelu", "gelu_new": "gelu_tanh", "relu": "relu"}[given["act_fn"]],
        causal=given["attention_dir"] == "causal",
        layer_norm=given["normalization_type"] == "LN",
        layer_norm_eps=given["eps"],
        pad=None,
    )
    for name in ("clean", "corrupted"):
        theirs, _ = numpy_reference.forward(unflatten_dict(nested), config, inputs[name])
        ours, _ = forward(model.params, model.config, np.asarray(getattr(batch, name)))
        np.testing.assert_allclose(theirs, ours, atol=1e-4)
    assert inputs["target"].dtype == np.float32 and inputs["clean"].dtype == np.int64
    np.testing.assert_array_equal(inputs["target"], batch.target)
    np.testing.assert_array_equal(inputs["positions"], batch.positions)


def test_config_in_the_words_of_transformer_lens() -> None:
    config = load_model("3").config
    found = transformer_lens_config(replace(config, activation="gelu_tanh", layer_norm=True))
    assert (found["act_fn"], found["normalization_type"]) == ("gelu_new", "LN")
    assert (found["attention_dir"], found["d_vocab_out"]) == ("causal", 1)
    assert found["use_attn_result"] and found["use_split_qkv_input"] and found["use_hook_mlp_in"]
    with pytest.raises(ValueError, match="pad is 1 and attention is not causal"):
        transformer_lens_config(replace(config, pad=1, causal=False))
    transformer_lens_config(replace(config, pad=1))  # padding comes last, and is not attended to


def test_positions_that_auto_circuit_cannot_count(case_3: Any) -> None:
    model, batch = case_3
    some = np.asarray(batch.positions).copy()
    some[0, 2] = 0
    with pytest.raises(ValueError, match=r"model 3 counts others, such as \[0.0, 1.0, 0.0"):
        check_export(model, batch._replace(positions=some), "auto-circuit")
    check_export(model, batch._replace(positions=some), "eap-ig")
    last = np.zeros_like(some)
    last[:, -1] = 1
    check_export(model, batch._replace(positions=last), "auto-circuit")


def test_tools_are_named() -> None:
    assert named_tool("mib") == "mib"
    with pytest.raises(ValueError, match="unknown tool 'acdc'; known: eap-ig, auto-circuit"):
        named_tool("acdc")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 9}, "has version 9, expected at most 1"),
        ({"model_id": 3}, "no str 'model_id'"),
        ({"seed": True}, "no int 'seed'"),
    ],
)
def test_files_that_are_not_manifests(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    assert read_manifest(tmp_path) is None
    facts = {**FACTS, "version": 1, "tool": "mib", "case": "3"}
    write_json(tmp_path / "export.json", facts | change)
    with pytest.raises(ValueError, match=message):
        read_manifest(tmp_path)
    write_json(tmp_path / "export.json", [1])
    with pytest.raises(ValueError, match="does not describe an export"):
        read_manifest(tmp_path)


def test_folders_of_mib() -> None:
    assert mib_name("3", "3") == "3_interpbench-3"
    assert mib_name("ioi_next_token", "out/my_model") == "ioi-next-token_interpbench-out-my-model"
    assert submission_folder("eap_ig_inputs", "resample", "edge") == "eap-ig-inputs_patching_edge"
    assert submission_folder("a/../b", "mean", "node") == "a-..-b_mean_node"
    assert shortcomings(["ioi_gpt2", "mcqa_qwen2.5"]) == []
    one = shortcomings(["ioi_gpt2"])
    assert "at least 2 tasks, got 1: ioi" in one[0] and "2 models, got 1: gpt2" in one[1]
    (ours,) = shortcomings(["3_interpbench-3", "13_interpbench-13"])
    assert "no task and model 3_interpbench-3, 13_interpbench-13; it has tasks ioi" in ours


def test_scripts_are_short() -> None:
    """A user reads `run.py` and replaces the method in it."""
    from interpbench_jax.zoo import export

    scripts = (Path(cast(str, export.__file__)).parent / "export_scripts").glob("run_*.py")
    lengths = {script.name: len(script.read_text().splitlines()) for script in scripts}
    assert len(lengths) == len(get_args(Tool)) and max(lengths.values()) <= 20, lengths


def test_results_on_an_earlier_export_are_moved_aside(tmp_path: Path, case_3: Any) -> None:
    model, batch = case_3
    write_export(model, batch, tmp_path / "3", "auto-circuit", FACTS)
    (tmp_path / "3" / "scores").mkdir()
    (tmp_path / "3" / "scores" / "eap.json").write_text("{}")
    write_export(model, batch, tmp_path / "3", "auto-circuit", FACTS | {"seed": 1})
    assert not (tmp_path / "3" / "scores").exists()
    assert (tmp_path / "3" / "older" / "scores-1" / "eap.json").read_text() == "{}"


def test_an_interrupted_export_has_no_manifest(
    tmp_path: Path, case_3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of an earlier export would describe other inputs."""
    model, batch = case_3
    write_export(model, batch, tmp_path / "3", "eap-ig", FACTS)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(export, "_readme", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_export(model, batch, tmp_path / "3", "eap-ig", FACTS | {"seed": 1})
    assert read_manifest(tmp_path / "3") is None


def test_of_all_models_those_that_a_tool_cannot_use_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(model: Any, *_: object) -> None:
        if model.case == "8":
            raise ValueError("counts others")

    monkeypatch.setattr(export, "check_export", refuse)
    monkeypatch.setattr("interpbench_jax.zoo.bundled_names", lambda: ("3", "8"))
    call = ["export", "--for", "auto-circuit", "--n-inputs", "10", "--out", str(tmp_path)]
    main(call)
    printed = capsys.readouterr().out
    assert "left out 8: counts others" in printed and "1 model for auto-circuit" in printed
    assert (tmp_path / "3" / "export.json").exists()
    assert not (tmp_path / "8").exists()
    (tmp_path / "8" / "scores").mkdir(parents=True)  # of an older export
    for name in ("export.json", "scores/eap.json"):
        (tmp_path / "8" / name).write_text("{}")
    main(call)
    older = tmp_path / "8" / "older"
    printed = capsys.readouterr().out
    assert f"left out 8: counts others; results of an older export are kept in {older}" in printed
    assert (older / "scores-1" / "eap.json").exists()
    (tmp_path / "3" / "scores").mkdir()
    (tmp_path / "3" / "scores" / "eap.json").write_text("{}")
    assert [found.model.name for found in find_files([tmp_path])] == ["3"]
    with pytest.raises(SystemExit):
        main([*call, "8"])
    assert "counts others" in capsys.readouterr().err
