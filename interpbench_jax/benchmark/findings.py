"""Runs discovery methods on a model and scores their results."""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from interpbench_jax.benchmark.draw import draw_comparison, edge_kinds
from interpbench_jax.benchmark.keys import key_of
from interpbench_jax.benchmark.own_method import find_method, method_label
from interpbench_jax.benchmark.plan import check_seed
from interpbench_jax.benchmark.stopwatch import TimeTaken, stopwatch
from interpbench_jax.discovery import (
    DISCOVERY_ABLATIONS,
    METHODS,
    ContrastBatch,
    Loss,
    Selection,
    contrast_batch,
    knobs,
    usual_loss,
    usual_selection,
)
from interpbench_jax.discovery.losses import loss_to_target
from interpbench_jax.files import make_directory, replacing, write_json
from interpbench_jax.model import Circuit
from interpbench_jax.model.circuit import Edge
from interpbench_jax.model.graph import edge_name
from interpbench_jax.scoring import FoundEdges, edge_roc, found_circuit, found_edges, node_roc
from interpbench_jax.scoring.items import MethodScores
from interpbench_jax.tasks import answer_in_chunks
from interpbench_jax.tasks.task import Contrast
from interpbench_jax.zoo import BenchmarkModel
from interpbench_jax.zoo.formats import write_edge_lines, write_score_arrays

N_INPUTS = 1_000
# Methods that run for fewer seconds are run a second time if the first one compiled something.
_SHORT = 10.0


class Finding(NamedTuple):
    """The result of one method on one model.

    Attributes:
      case: name of the model's case.
      method: name of the method.
      loss: name of its loss function.
      selection: how edges are ranked and the found circuit is selected.
      scores: scores per edge, or per writer.
      edge_auroc: AUROC of edges with q, k and v of a head merged.
      edge_auroc_qkv: AUROC of edges with q, k and v separate.
      node_auroc: AUROC of heads and MLPs.
      true_edges: names of the true edges in the found circuit (see `found_circuit`), with q, k and
        v of a head merged; so are the following.
      missed_edges: names of the true edges that are not in it.
      false_edges: names of the false edges in it.
      unobservable_edges: names of the edges in it that are in the true circuit, but that no patch
        can reveal. They are not scored.
      tied_edges: names of edges that tie for its last places. They are not among the true and false
        edges above; the numbers below count them with the probability that they are in it.
      n_true: expected number of true edges in the found circuit, over the orders of tied edges.
      n_missed: expected number of true edges that it lacks.
      n_false: expected number of false edges in it.
      seconds: wall time of the run, without compilation.
      compile_seconds: time of tracing, lowering and compilation.
    """

    case: str
    method: str
    loss: str
    selection: Selection
    scores: Float[np.ndarray, "writer reader"] | Float[np.ndarray, " writer"]
    edge_auroc: float
    edge_auroc_qkv: float
    node_auroc: float
    true_edges: tuple[str, ...]
    missed_edges: tuple[str, ...]
    false_edges: tuple[str, ...]
    unobservable_edges: tuple[str, ...]
    tied_edges: tuple[str, ...]
    n_true: float
    n_missed: float
    n_false: float
    seconds: float
    compile_seconds: float

    @property
    def precision(self) -> float:
        """Share of the found edges that are true; NaN if none are found."""
        return self._found.precision

    @property
    def recall(self) -> float:
        """Share of the true edges that are found; NaN if there are none."""
        return self._found.recall

    @property
    def _found(self) -> FoundEdges:
        return FoundEdges(self.n_true, self.n_missed, self.n_false, frozenset())

    def as_json(self) -> dict[str, Any]:
        """Everything except the scores, as plain data."""
        fields = self._asdict()
        del fields["scores"]
        return fields | {"precision": self.precision, "recall": self.recall}


def check_inputs(*, n_inputs: int, ablation: str) -> None:
    """Checks arguments of `make_contrast`.

    Raises:
      ValueError: `n_inputs` is smaller than 1, or there is no such ablation.
    """
    if n_inputs < 1:
        raise ValueError(f"n_inputs must be at least 1, got {n_inputs}")
    if ablation not in DISCOVERY_ABLATIONS:
        known = ", ".join(DISCOVERY_ABLATIONS)
        raise ValueError(f"unknown ablation {ablation!r}; known: {known}")


def selection_of(method: str, selection: str) -> Selection:
    """The selection to use for a method.

    Args:
      method: name of the method.
      selection: `top_n`, `greedy`, or `usual` for the selection of the method's paper.

    Raises:
      ValueError: there is no such selection.
    """
    if selection == "usual":
        return usual_selection(method)
    for known in get_args(Selection):
        if known == selection:
            return known
    raise ValueError(
        f"unknown selection {selection!r}; known: usual, {', '.join(get_args(Selection))}"
    )


def make_contrast(
    model: BenchmarkModel,
    key: jax.Array | int,
    *,
    n_inputs: int = N_INPUTS,
    ablation: str = "resample",
    loss: Loss | None = None,
    n_rows: int | None = None,
) -> ContrastBatch:
    """Draws clean and corrupted inputs of the model's case, with the right answers.

    Args:
      model: the model.
      key: a JAX random key, or a seed.
      n_inputs: number of inputs of each kind.
      ablation: the source of patches, see `contrast_batch`.
      loss: the loss that `optimal` constants minimise; by default against the right answer.
      n_rows: pads the batch to this many rows with copies of the first row that do not count, so
        that batches of different sizes share compiled programs.

    Raises:
      ValueError: `n_inputs` is smaller than 1 or larger than `n_rows`, there is no such ablation,
        or a seed is out of range.
    """
    check_inputs(n_inputs=n_inputs, ablation=ablation)
    if not isinstance(key, jax.Array):
        check_seed(key)
        key = jax.random.key(key)
    task = model.task
    drawn = _filled(task.contrast(n_inputs, key), n_inputs if n_rows is None else n_rows)
    nothing = np.zeros((1, task.circuit.graph.n_writers, 1), np.float32)
    return contrast_batch(
        model.params,
        model.config,
        jnp.asarray(drawn.clean),
        jnp.asarray(drawn.corrupted),
        jnp.asarray(answer_in_chunks(task.answers, drawn.clean, drawn.clean, nothing)[0]),
        jnp.asarray(drawn.position_weights),
        ablation=ablation,
        loss=loss or loss_to_target(task.categorical),
        foil=drawn.foil,
    )


def _filled(drawn: Contrast, n_rows: int) -> Contrast:
    """Pads with copies of the first row that do not count."""
    missing = n_rows - len(drawn.clean)
    if missing < 0:
        raise ValueError(f"{len(drawn.clean)} inputs do not fit into {n_rows} rows")
    clean, corrupted, foil = (
        None if rows is None else np.concatenate([rows, np.repeat(rows[:1], missing, 0)])
        for rows in (drawn.clean, drawn.corrupted, drawn.foil)
    )
    assert clean is not None and corrupted is not None
    return Contrast(clean, corrupted, np.pad(drawn.position_weights, ((0, missing), (0, 0))), foil)


def run_methods(
    model: BenchmarkModel,
    methods: Sequence[str | Callable[..., Any]],
    batch: ContrastBatch,
    *,
    loss: Loss | None = None,
    seed: int = 0,
    selection: str = "usual",
) -> list[Finding]:
    """Runs each method and scores its result.

    Args:
      model: the model.
      methods: functions; or names in `discovery.METHODS`; or `module:function` or
        `file.py:function` for your own.
      batch: inputs and the source of patches.
      loss: the loss for all methods; by default each method's usual loss.
      seed: seed of methods that use randomness.
      selection: how scores become circuits; by default as in each method's paper.

    Raises:
      ValueError: a method or the selection is unknown, two methods have the same name, the seed is
        out of range, or the loss or a score is NaN.
    """
    check_seed(seed)
    functions = methods_by_name(methods)  # looks up all before running any
    selection_of("", selection)
    truth = model.circuit
    findings = []
    for name, function in functions.items():
        built_in = METHODS.get(name) is _whole(function)  # a user's method may have that name
        used = loss or usual_loss(name if built_in else "", batch.categorical)
        how = selection_of(name if built_in else "", selection)
        scores, time_taken = run_method(model, name, function, batch, used, seed)
        findings.append(
            Finding(
                case=model.case,
                method=name,
                loss=_loss_name(used),
                selection=how,
                scores=scores,
                edge_auroc=edge_roc(scores, truth, selection=how).auroc,
                edge_auroc_qkv=edge_roc(scores, truth, level="qkv", selection=how).auroc,
                node_auroc=node_roc(scores, truth, selection=how).auroc,
                **_found(truth, scores, how),
                seconds=time_taken.running,
                compile_seconds=time_taken.compiling,
            )
        )
    return findings


def run_method(
    model: BenchmarkModel,
    name: str,
    method: Callable[..., Any],
    batch: ContrastBatch,
    loss: Loss,
    seed: int,
) -> tuple[Float[np.ndarray, "writer reader"] | Float[np.ndarray, " writer"], TimeTaken]:
    """Runs a method, with the key or the truth if it takes them.

    Args:
      model: the model.
      name: the method's name in results, on which its key depends.
      method: the function.
      batch: inputs and the source of patches.
      loss: its loss.
      seed: seed of methods that use randomness.

    Returns:
      Its scores, and the time it took. A short method that compiled something is run again, to
      measure its run time.

    Raises:
      ValueError: the loss of the unpatched model is not finite, or a score is NaN.
    """
    unpatched = float(loss(batch.clean_logits, batch))
    if not math.isfinite(unpatched):
        raise ValueError(f"{_loss_name(loss)} of the unpatched model must be finite: {unpatched}")
    extra = knobs(method, key=key_of(seed, "method", model.case, name), truth=model.circuit.mask)

    def run() -> np.ndarray:
        return np.asarray(method(model.params, model.config, batch, loss, **extra))

    with stopwatch() as time_taken:
        scores = run()
    if time_taken.compiling and time_taken.running < _SHORT:
        # Compilation and runs overlap, so only a second run shows what a run takes.
        with stopwatch() as again:
            run()
        time_taken.total = time_taken.compiling + again.running
    valid = model.graph.valid
    if np.isnan(np.where(valid, scores, 0.0) if scores.shape == valid.shape else scores).any():
        raise ValueError(f"{name} gives NaN as a score; its loss was {_loss_name(loss)}")
    return scores, time_taken


def _loss_name(loss: Loss) -> str:
    return getattr(loss, "__name__", str(loss))  # a `functools.partial` has none


def methods_by_name(
    methods: Sequence[str | Callable[..., Any]],
) -> dict[str, Callable[..., Any]]:
    """Methods by their names in results.

    Args:
      methods: as in `run_methods`.

    Raises:
      ValueError: a method is unknown, or two methods have the same name.
    """
    if isinstance(methods, str) or not isinstance(methods, Sequence):
        raise ValueError(f"methods must be a sequence, such as ('eap',), got {methods!r}")
    found: dict[str, Callable[..., Any]] = {}
    for method in methods:
        if isinstance(method, str):
            name, function = method_label(method), find_method(method)
        elif callable(method):
            name, function = _name_of(method), method
        else:
            raise ValueError(f"a method must be a function or a name, got {method!r}")
        if name in found:
            raise ValueError(f"two methods are named {name!r}")
        found[name] = function
    return found


def write_findings(
    model: BenchmarkModel,
    findings: Sequence[Finding],
    directory: Path,
    settings: Mapping[str, Any],
) -> None:
    """Writes scores, results, found circuits and a drawing.

    `scores.npz` also has the names of writers and readers. Undefined results in `findings.json`,
    such as the precision of an empty circuit, are null. `circuits/METHOD.txt` has a line for each
    edge of the found circuit of the true size, and `circuits.png` shows all of them.

    Args:
      model: the model.
      findings: one per method.
      directory: where to write; created if missing.
      settings: settings with which they were made, for the record.

    Raises:
      ValueError: the directory cannot be written to.
    """
    make_directory(directory)
    scores = {finding.method: finding.scores for finding in findings}
    write_score_arrays(directory / "scores.npz", scores, model.graph)
    write_json(directory / "findings.json", [{**f.as_json(), **settings} for f in findings])
    make_directory(directory / "circuits")
    found = {}
    for f in findings:
        circuit = found_circuit(f.scores, model.circuit, selection=f.selection)
        found[f"{f.method} ({f.selection})"] = circuit
        with replacing(directory / "circuits" / f"{f.method}.txt") as partial:
            partial.write_text(write_edge_lines(circuit), "utf-8")
    title = f"case {model.case}: {model.title}"
    with replacing(directory / "circuits.png") as partial:
        draw_comparison(model.circuit, found, partial, title=title)


def _name_of(function: Callable[..., Any]) -> str:
    """A function's name in `METHODS`, or its own name, ignoring `functools.partial`."""
    function = _whole(function)
    listed = (name for name, method in METHODS.items() if method is function)
    return next(listed, getattr(function, "__name__", type(function).__name__))


def _whole(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function that a `functools.partial` calls."""
    while isinstance(function, functools.partial):
        function = function.func
    return function


def _found(truth: Circuit, scores: MethodScores, selection: Selection) -> dict[str, Any]:
    """The fields of `Finding` with names of edges, in graph order, and with their numbers."""
    writers, readers = truth.graph.writers, truth.graph.head_readers

    def place(edge: Edge) -> tuple[int, int]:
        return writers.index(edge[0]), readers.index(edge[1])

    found = found_edges(scores, truth, selection=selection)
    kinds = edge_kinds(truth, found_circuit(scores, truth, selection=selection))
    names = {
        f"{kind}_edges": tuple(edge_name(*edge) for edge in sorted(edges, key=place))
        for kind, edges in (kinds | {"tied": found.tied}).items()
    }
    return names | {"n_true": found.n_true, "n_missed": found.n_missed, "n_false": found.n_false}
