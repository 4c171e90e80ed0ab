"""The exported scripts run unchanged in their tools, with the same results as ours.

Needs `torch`, `transformer-lens`, `auto-circuit` and EAP-IG (`eap`) in addition to this package;
tests whose packages are missing are skipped.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interpbench_jax.benchmark import Store, make_contrast
from interpbench_jax.benchmark.keys import key_of
from interpbench_jax.cli import main
from interpbench_jax.discovery import eap, eap_clean_corrupted, eap_ig_inputs, named_loss
from interpbench_jax.scoring import edge_roc
from interpbench_jax.zoo import bundled_names, load_model
from interpbench_jax.zoo.export import Tool
from interpbench_jax.zoo.formats import read_discovered
from tests.peers import peer_is_installed

pytestmark = pytest.mark.slow

NEEDS: dict[Tool, tuple[str, ...]] = {
    "transformer-lens": ("torch", "transformer_lens"),
    "auto-circuit": ("torch", "transformer_lens", "auto_circuit"),
    "eap-ig": ("torch", "transformer_lens", "eap"),
    "mib": ("torch", "transformer_lens", "eap"),
}
WRITES: dict[Tool, str] = {
    "transformer-lens": "scores/eap.csv",
    "auto-circuit": "scores/eap.json",
    "eap-ig": "scores/eap.json",
    "mib": "circuits/EAP_patching_edge/{0}_interpbench-{0}/importances.json",
}
N = 300


def need(tool: Tool) -> None:
    peer_is_installed(*NEEDS[tool])


def run(script: Path) -> None:
    environment = os.environ | {"TQDM_DISABLE": "1"}
    ran = subprocess.run([sys.executable, script], capture_output=True, text=True, env=environment)
    assert ran.returncode == 0, ran.stderr


def loss_name(tool: Tool, categorical: bool) -> str:
    if categorical:
        return "logit_difference" if tool == "mib" else "cross_entropy"
    return "mse" if tool == "auto-circuit" else "mae"


@pytest.mark.parametrize("tool", NEEDS)
def test_edge_attribution_patching(tmp_path: Path, tool: Tool, capsys: Any) -> None:
    need(tool)
    common = ["--n-inputs", str(N), "--seed", "1"]
    main(["export", "13", "3", "--for", tool, *common, "--out", str(tmp_path / "export")])
    aurocs = {}
    for name in ("13", "3"):
        run(tmp_path / "export" / name / "run.py")
        model = load_model(name)
        file = tmp_path / "export" / name / WRITES[tool].format(name)
        theirs = read_discovered(file, model)[""].scores
        batch = make_contrast(model, key_of(1, "inputs", model.case), n_inputs=N)
        categorical = model.task.categorical
        loss = named_loss(loss_name(tool, categorical), categorical)
        ours = np.asarray(eap(model.params, model.config, batch, loss))
        assert theirs is not None and np.ptp(ours) > 0
        np.testing.assert_allclose(theirs, ours, rtol=0, atol=1e-4)
        if not (categorical and loss.__name__ == "cross_entropy"):
            # Case 13's labels are almost certain, so this gradient has rounding errors of 1e-4.
            np.testing.assert_allclose(theirs, ours, rtol=0, atol=1e-4 * np.abs(ours).max())
        aurocs[name] = edge_roc(ours, model.circuit).auroc
    capsys.readouterr()
    arguments = ["score", str(tmp_path / "export"), "--out", str(tmp_path / "results"), "--json"]
    main(arguments)
    rows = {row["model"]: row for row in json.loads(capsys.readouterr().out)}
    assert {name: row["edge_auroc"] for name, row in rows.items()} == aurocs
    assert all((row["seed"], row["n_inputs"]) == (1, N) for row in rows.values())
    assert len(Store(tmp_path / "results").status()) == 2


_AGAIN = """
import sys
from eap.graph import Graph
graph = Graph.from_json(sys.argv[1])
graph.to_pt(sys.argv[2])
graph.to_json(sys.argv[3])
"""


def test_graphs_by_eap_ig_itself(tmp_path: Path) -> None:
    """It reads our JSON and we read its tensors: scores and circuits are equal bit for bit."""
    need("eap-ig")
    from interpbench_jax.zoo.formats import Discovered, read_eap_ig, same_discovery, to_eap_ig

    model = load_model("13")
    graph = model.graph
    drawn = np.random.default_rng(0).normal(size=graph.valid.shape).astype(np.float32)
    scores = np.where(graph.valid, drawn.astype(float), 0.0)
    scores[0, 0] = np.inf
    circuit = model.circuit
    for found in (
        Discovered(graph=graph, scores=scores),
        Discovered(graph=graph, circuit=circuit.observable),
        Discovered(graph=graph, scores=scores, circuit=circuit.observable),
    ):
        text = to_eap_ig(found, d_model=model.config.d_model)
        ours, tensors, theirs = (tmp_path / name for name in ("a.json", "a.pt", "b.json"))
        ours.write_text(text)
        arguments = [sys.executable, "-c", _AGAIN, *map(str, (ours, tensors, theirs))]
        ran = subprocess.run(arguments, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        assert json.loads(theirs.read_text()) == json.loads(text)
        assert same_discovery(read_eap_ig(text, graph), found)
        assert same_discovery(read_discovered(tensors, model)[""], found)


def test_other_methods_of_eap_ig(tmp_path: Path) -> None:
    """A user changes one line.

    Of the two ends of the path of inputs, our mean includes the clean one and theirs the
    corrupted one.
    """
    need("eap-ig")
    main(["export", "3", "--for", "eap-ig", "--n-inputs", "100", "--out", str(tmp_path)])
    script = tmp_path / "3" / "run.py"
    changed = script.read_text().replace('"EAP", {}', '"EAP-IG-inputs", {"ig_steps": 5}')
    assert changed != script.read_text()
    script.write_text(changed)
    run(script)
    model = load_model("3")
    theirs = read_discovered(tmp_path / "3" / "scores" / "eap-ig-inputs.json", model)[""].scores
    batch = make_contrast(model, key_of(0, "inputs", "3"), n_inputs=100)
    given = (model.params, model.config, batch, named_loss("mae", False))
    clean, both = np.asarray(eap(*given)), np.asarray(eap_clean_corrupted(*given))
    ours = eap_ig_inputs(*given, steps=5) + 2 * (both - clean) / 5
    assert theirs is not None
    np.testing.assert_allclose(theirs, ours, rtol=0, atol=1e-4 * np.abs(ours).max())


def test_the_whole_suite_in_one_call(tmp_path: Path) -> None:
    main(["export", "--n-inputs", "20", "--out", str(tmp_path)])
    assert {folder.name for folder in tmp_path.iterdir()} == set(bundled_names())


def test_a_large_model(tmp_path: Path) -> None:
    need("eap-ig")
    main(["export", "21", "--n-inputs", "20", "--out", str(tmp_path)])
    run(tmp_path / "21" / "run.py")
    found = read_discovered(tmp_path / "21" / "scores" / "eap.json", load_model("21"))[""]
    assert found.scores is not None and found.scores.any()
