"""Carries a plan out: one run after another, each written when it is done."""

import dataclasses
import datetime
import functools
import inspect
import platform
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from interpbench_jax.alignment import observed_circuit, place
from interpbench_jax.benchmark.findings import make_contrast, score_edges, selection_of
from interpbench_jax.benchmark.keys import Drawn, key_of
from interpbench_jax.benchmark.measure import measure, measure_circuit
from interpbench_jax.benchmark.own_method import find_method, method_label
from interpbench_jax.benchmark.plan import (
    ModelSource,
    Run,
    stored_model,
    versions,
)
from interpbench_jax.benchmark.results_store import Store
from interpbench_jax.benchmark.shared_shapes import in_shared_shape, rows_for
from interpbench_jax.benchmark.stopwatch import stopwatch
from interpbench_jax.compiler import compile_case
from interpbench_jax.discovery import ContrastBatch, usual_loss
from interpbench_jax.discovery.losses import loss_to_target
from interpbench_jax.files import from_json, to_json
from interpbench_jax.model import Circuit
from interpbench_jax.scoring import node_importance
from interpbench_jax.scoring.items import EdgeScores, NodeScores, judged_edges, true_edges
from interpbench_jax.zoo import BenchmarkModel, load_model


def check_setup(runs: Sequence[Run]) -> None:
    """Looks up every method and loads every model, so that mistakes are told before any run.

    Raises:
      ValueError: a method does not exist or its file cannot be imported, or a model cannot be
        loaded.
    """
    for method in dict.fromkeys(run.method for run in runs):
        find_method(method)
    for directory in dict.fromkeys(run.model.directory for run in runs):
        if directory is not None:
            load_model(directory)


def execute(runs: Sequence[Run], store: Store, *, command: str = "") -> Iterator[dict[str, Any]]:
    """Does runs one by one. A run that fails is written as such, and the next one is done.

    Args:
      runs: what to do; best in the order of `make_plan`.
      store: where results go.
      command: what the user called; written next to the results.

    Yields:
      What was written, after it was.

    Raises:
      ValueError: a method does not exist; before any run.
    """
    methods = {run.method: find_method(run.method) for run in runs}
    known: dict[str, Any] = {
        "command": command,
        "versions": to_json(versions()),
        "device": device(),
    }
    inputs = Inputs(store)
    for run in runs:
        row = {**known, **described(run), "started": now()}
        try:
            row |= _do(run, methods[run.method], inputs)
            row["status"] = "done"
        except Exception as error:
            row |= {"status": "failed", "error": f"{type(error).__name__}: {error}"}
            row["traceback"] = traceback.format_exc()
        store.write(row)
        yield row


def device() -> str:
    """What JAX runs on, such as `cpu: cpu, x86_64` or `gpu: NVIDIA A100 x 2`."""
    devices = jax.devices()
    first = devices[0]
    kind = f"{first.device_kind}, {platform.machine()}" if first.platform == "cpu" else ""
    number = f" x {len(devices)}" if len(devices) > 1 else ""
    return f"{first.platform}: {kind or first.device_kind}{number}"


class Inputs:
    """Models and inputs of the last run, which the next one often shares."""

    def __init__(self, store: Store) -> None:
        """Starts without any; what is known of models goes to the store."""
        self._store = store
        self.model = functools.lru_cache(maxsize=1)(self._load)
        self.contrast = functools.lru_cache(maxsize=2)(self._draw)  # for the method, for circuits
        self.importance = functools.lru_cache(maxsize=1)(self._importance)

    def _load(self, source: ModelSource) -> BenchmarkModel:
        if source.directory is None:
            model = compiled_model(source.case)
        else:
            model = load_model(source.directory)
            if stored_model(Path(source.directory), source.name) != source:
                raise ValueError(f"{source.directory} has changed since the runs were planned")
        self._store.write_model(source.fingerprint, model_facts(model))
        return in_shared_shape(model)

    def _draw(
        self, source: ModelSource, ablation: str, seed: int, n_inputs: int, drawn: Drawn
    ) -> ContrastBatch:
        model = self.model(source)
        key = key_of(seed, drawn, model.case)
        return make_contrast(
            model, key, n_inputs=n_inputs, ablation=ablation, n_rows=rows_for(n_inputs)
        )

    def of(self, run: Run, drawn: Drawn) -> ContrastBatch:
        """The inputs that a run's method works on, or those on which circuits are run."""
        return self.contrast(run.model, run.ablation, run.seed, run.n_inputs, drawn)

    def _importance(
        self, source: ModelSource, ablation: str, seed: int, n_inputs: int
    ) -> list[float]:
        model = self.model(source)
        batch = self.contrast(source, ablation, seed, n_inputs, "scoring inputs")
        loss = loss_to_target(_categorical(batch))
        return node_importance(model.params, model.config, batch, loss).tolist()


def _do(run: Run, method: Callable[..., Any], inputs: Inputs) -> dict[str, Any]:
    model, batch = inputs.model(run.model), inputs.of(run, "inputs")
    loss = usual_loss(run.method, _categorical(batch))
    scores, finding = score_edges(model, run.method, method, batch, loss, run.seed)
    return {
        **judge(run, np.asarray(scores, np.float64), inputs),
        "knobs": to_json({"loss": loss.__name__} | _defaults(method)),
        "seconds": finding.total - finding.compiling,
        "compile_seconds": finding.compiling,
    }


def judge(run: Run, scores: EdgeScores | NodeScores, inputs: Inputs) -> dict[str, Any]:
    """Every score of what a method found, wherever it was run.

    Args:
      run: what was run.
      scores: what the method found.
      inputs: where models and inputs come from.

    Returns:
      By the names of the columns of `Store`: all but what describes the run and its duration.

    Raises:
      ValueError: the scores do not fit the model's graph, or contain NaN.
    """
    model, batch = inputs.model(run.model), inputs.of(run, "inputs")
    with stopwatch() as scoring:
        others = inputs.of(run, "scoring inputs")
        key = key_of(run.seed, "circuits", model.case, run.method)
        found = measure(
            model, others, scores, key, selection=selection_of(run.method, run.selection)
        )
        importance = inputs.importance(run.model, run.ablation, run.seed, run.n_inputs)
    return {
        **found,
        **_counts(model),
        "scores": np.reshape(scores, -1).tolist(),
        "scores_shape": list(np.shape(scores)),
        "node_importance": importance,
        "seen_inputs": _share_seen(others, batch),
        "scoring_seconds": scoring.total,
    }


def judge_circuit(run: Run, found: Circuit, inputs: Inputs) -> dict[str, Any]:
    """Every score of a circuit that comes without a ranking of edges.

    Args:
      run: what was run.
      found: the circuit, with q, k and v apart.
      inputs: where models and inputs come from.

    Returns:
      As `judge`; `scores` are 1 at the edges of the circuit and 0 elsewhere.

    Raises:
      ValueError: it is a circuit of another graph.
    """
    model, batch = inputs.model(run.model), inputs.of(run, "inputs")
    with stopwatch() as scoring:
        others = inputs.of(run, "scoring inputs")
        key = key_of(run.seed, "circuits", model.case, run.method)
        measured = measure_circuit(model, others, found, key)
        importance = inputs.importance(run.model, run.ablation, run.seed, run.n_inputs)
    return {
        **measured,
        **_counts(model),
        "scores": found.mask.astype(float).reshape(-1).tolist(),
        "scores_shape": list(found.mask.shape),
        "node_importance": importance,
        "seen_inputs": _share_seen(others, batch),
        "scoring_seconds": scoring.total,
    }


def _counts(model: BenchmarkModel) -> dict[str, Any]:
    """What the model's circuit is made of, and how many edges are judged."""
    judged = judged_edges(model.circuit, "head")
    return {
        "kind": kind(model),
        "n_edges": int(judged.sum()),
        "n_true_edges": int((judged & true_edges(model.circuit, "head")).sum()),
    }


def kind(model: BenchmarkModel) -> str:
    """What the circuit has: `attention`, several `MLPs`, or `one MLP`, which any method finds."""
    nodes = model.circuit.nodes - {"input", "logits"}
    if any(node.startswith("a") for node in nodes):
        return "attention"
    return "MLPs" if len(nodes) > 1 else "one MLP"


def compiled_model(case: str) -> BenchmarkModel:
    """The high-level model of a case as a model to look at."""
    compiled = compile_case(case)
    itself = place(compiled, compiled.config, {node: (node,) for node in compiled.places})
    return BenchmarkModel(
        case=compiled.case.name,
        params=jax.tree.map(jnp.asarray, compiled.deciding_params),
        config=compiled.config,
        variables=(),
        circuit=observed_circuit(compiled, itself),
        card={"title": compiled.case.title, "metrics": {}},
    )


def model_facts(model: BenchmarkModel) -> dict[str, Any]:
    """What a report says of a model: plain data."""
    return {
        "case": model.case,
        "title": model.card.get("title", ""),
        "kind": kind(model),
        "config": dataclasses.asdict(model.config),
        "metrics": model.card.get("metrics", {}),
        "program": list(model.task.describe()),
        "variables": {v.node: v.name for v in model.variables},
        "circuit": from_json(model.circuit.to_json(), source="the circuit"),
    }


def described(run: Run) -> dict[str, Any]:
    """What was run, by the names of the columns of `Store`."""
    fields = dataclasses.asdict(run)
    source = fields.pop("model")
    return {
        **fields,
        "id": run.id,
        "method": method_label(run.method),
        "model": source["name"],
        "model_id": source["fingerprint"],
        "case": source["case"],
    }


def _defaults(method: Callable[..., Any]) -> dict[str, str]:
    """A method's settings: its keyword-only arguments and their values, but what a run gives it."""
    settings = [
        p for p in inspect.signature(method).parameters.values() if p.kind is p.KEYWORD_ONLY
    ]
    return {p.name: repr(p.default) for p in settings if p.name not in ("key", "truth")}


def _share_seen(batch: ContrastBatch, before: ContrastBatch) -> float:
    """Share of clean inputs that are among those of another batch: few cases have no repeats."""
    inputs, seen = (
        [row.tobytes() for row in np.asarray(one.clean)[np.asarray(one.positions).any(1)]]
        for one in (batch, before)
    )
    return float(np.mean([row in seen for row in inputs]))


def _categorical(batch: ContrastBatch) -> bool:
    return bool(jnp.issubdtype(batch.target.dtype, jnp.integer))


def now() -> str:
    """The time, as results record it."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
