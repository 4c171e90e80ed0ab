"""Execution of a plan: one run after another, each stored when it is done."""

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
from interpbench_jax.benchmark.findings import make_contrast, run_method, selection_of
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
from interpbench_jax.model.circuit import circuit_kind
from interpbench_jax.scoring import node_importance
from interpbench_jax.scoring.items import MethodScores, judged_edges, true_edges
from interpbench_jax.zoo import BenchmarkModel, load_model


def check_setup(runs: Sequence[Run]) -> None:
    """Looks up every method and loads every model, to detect errors before the first run.

    Raises:
      ValueError: a method does not exist or its file cannot be imported, or a model cannot be
        loaded.
    """
    for method in dict.fromkeys(run.method for run in runs):
        find_method(method)
    for directory in dict.fromkeys(run.model.directory for run in runs):
        if directory is not None:
            load_model(Path(directory))


def execute(runs: Sequence[Run], store: Store, *, command: str = "") -> Iterator[dict[str, Any]]:
    """Executes runs one by one; a run that fails is stored as failed, and the next one follows.

    Args:
      runs: the runs; fastest in the order of `make_plan`.
      store: the store for the results.
      command: the user's command, stored with the results.

    Yields:
      Each result, after it was written.

    Raises:
      ValueError: a method does not exist (raised before the first run).
    """
    methods = {run.method: find_method(run.method) for run in runs}
    known: dict[str, Any] = {
        "command": command,
        "versions": to_json(versions()),
        "device": device(),
    }
    inputs = Inputs(store)
    for run in runs:
        selection = selection_of(run.method, run.selection)
        row = {**known, **described(run), "selection": selection, "started": now()}
        try:
            row |= _do(run, methods[run.method], inputs)
            row["status"] = "done"
        except Exception as error:
            row |= {"status": "failed", "error": f"{type(error).__name__}: {error}"}
            row["traceback"] = traceback.format_exc()
        store.write(row)
        yield row


def device() -> str:
    """The devices that JAX uses, such as `cpu: cpu, x86_64` or `gpu: NVIDIA A100 x 2`."""
    devices = jax.devices()
    first = devices[0]
    kind = f"{first.device_kind}, {platform.machine()}" if first.platform == "cpu" else ""
    number = f" x {len(devices)}" if len(devices) > 1 else ""
    return f"{first.platform}: {kind or first.device_kind}{number}"


class Inputs:
    """A cache of models and inputs of the last run, which the next run often shares."""

    def __init__(self, store: Store) -> None:
        """An empty cache; facts about models are written to the store."""
        self._store = store
        self.model = functools.lru_cache(maxsize=1)(self._load)
        self.contrast = functools.lru_cache(maxsize=2)(self._draw)  # for method and circuits
        self.importance = functools.lru_cache(maxsize=1)(self._importance)

    def _load(self, source: ModelSource) -> BenchmarkModel:
        if source.directory is None:
            model = compiled_model(source.case)
        else:
            model = load_model(Path(source.directory))
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
        """The inputs of a run's method, or the inputs on which circuits are run."""
        return self.contrast(run.model, run.ablation, run.seed, run.n_inputs, drawn)

    def _importance(
        self, source: ModelSource, ablation: str, seed: int, n_inputs: int
    ) -> list[float]:
        model = self.model(source)
        batch = self.contrast(source, ablation, seed, n_inputs, "scoring inputs")
        loss = loss_to_target(batch.categorical)
        return node_importance(model.params, model.config, batch, loss).tolist()


def _do(run: Run, method: Callable[..., Any], inputs: Inputs) -> dict[str, Any]:
    model, batch = inputs.model(run.model), inputs.of(run, "inputs")
    loss = usual_loss(run.method, batch.categorical)
    scores, finding = run_method(model, method_label(run.method), method, batch, loss, run.seed)
    return {
        **judge(run, np.asarray(scores, np.float64), inputs),
        "knobs": to_json({"loss": loss.__name__} | _defaults(method)),
        "seconds": finding.running,
        "compile_seconds": finding.compiling,
    }


def judge(run: Run, result: MethodScores | Circuit, inputs: Inputs) -> dict[str, Any]:
    """Every score of a method's result, from this package or another tool.

    Args:
      run: the run.
      result: scores, or a circuit without a ranking of edges, with q, k and v separate.
      inputs: provides models and inputs.

    Returns:
      Values by the names of the columns of `Store`, except the run's description and duration. The
      `scores` of a circuit are 1 at its edges and 0 elsewhere.

    Raises:
      ValueError: the scores or the circuit do not fit the model's graph, or scores contain NaN.
    """
    model, batch = inputs.model(run.model), inputs.of(run, "inputs")
    with stopwatch() as scoring:
        others = inputs.of(run, "scoring inputs")
        key = key_of(run.seed, "circuits", model.case, method_label(run.method))
        if isinstance(result, Circuit):
            scores = result.mask.astype(float)
            measured = measure_circuit(model, others, result, key)
        else:
            scores, selection = np.asarray(result), selection_of(run.method, run.selection)
            measured = measure(model, others, scores, key, selection=selection)
        importance = inputs.importance(run.model, run.ablation, run.seed, run.n_inputs)
    return {
        **measured,
        **_counts(model),
        "scores": np.reshape(scores, -1).tolist(),
        "scores_shape": list(np.shape(scores)),
        "node_importance": importance,
        "seen_inputs": _share_seen(others, batch),
        "scoring_seconds": scoring.total,
    }


def _counts(model: BenchmarkModel) -> dict[str, Any]:
    """The kind of the model's circuit, and the number of scored edges."""
    judged = judged_edges(model.circuit, "head")
    return {
        "kind": circuit_kind(model.circuit),
        "n_edges": int(judged.sum()),
        "n_true_edges": int((judged & true_edges(model.circuit, "head")).sum()),
    }


def compiled_model(case: str) -> BenchmarkModel:
    """The compiled model of a case, as a model to run methods on."""
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
    """The facts about a model in a report, as plain data."""
    return {
        "case": model.case,
        "title": model.card.get("title", ""),
        "kind": circuit_kind(model.circuit),
        "config": dataclasses.asdict(model.config),
        "metrics": model.card.get("metrics", {}),
        "program": list(model.task.describe()),
        "variables": {v.node: v.name for v in model.variables},
        "circuit": from_json(model.circuit.to_json(), source="the circuit"),
    }


def described(run: Run) -> dict[str, Any]:
    """The description of a run, by the names of the columns of `Store`."""
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
    """A method's settings: keyword-only arguments and defaults, except those that a run passes."""
    settings = [
        p for p in inspect.signature(method).parameters.values() if p.kind is p.KEYWORD_ONLY
    ]
    return {p.name: repr(p.default) for p in settings if p.name not in ("key", "truth")}


def _share_seen(batch: ContrastBatch, before: ContrastBatch) -> float:
    """Share of clean inputs that are also in another batch."""
    inputs, seen = (
        [row.tobytes() for row in np.asarray(one.clean)[np.asarray(one.positions).any(1)]]
        for one in (batch, before)
    )
    return float(np.mean([row in seen for row in inputs]))


def now() -> str:
    """The current time in the format of results."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
