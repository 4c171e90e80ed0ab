"""Runs discovery methods on a model and scores what they find."""

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
from interpbench_jax.scoring.items import EdgeScores, NodeScores
from interpbench_jax.tasks import answer_in_chunks
from interpbench_jax.tasks.task import Contrast
from interpbench_jax.zoo import BenchmarkModel
from interpbench_jax.zoo.formats import write_score_arrays

N_INPUTS = 1_000


class Finding(NamedTuple):
    """What one method found in one model.

    Attributes:
      case: name of the model's case.
      method: name of the method.
      loss: name of the loss function it was given.
      selection: how edges are ranked and the found circuit is read off the scores.
      scores: per edge, or per writer.
      edge_auroc: with q, k and v of a head merged.
      edge_auroc_qkv: with them apart.
      node_auroc: over heads and MLPs.
      true_edges: names of the true edges in the found circuit (see `found_circuit`); with q, k and
        v of a head merged.
      missed_edges: of the true edges that are not in it.
      false_edges: of the edges in it that are not true.
      unobservable_edges: of the edges in it that are in the true circuit, but that no patch can
        reveal. They count nowhere.
      tied_edges: of edges that tie for its last places. They count in the numbers below, by the
        chance that they are in it, and are among none of the true and false ones above.
      n_true: how many true edges the found circuit has, expected over the orders of tied ones.
      n_missed: how many it lacks.
      n_false: how many others it has.
      seconds: wall time of the run, without compilation.
      compile_seconds: of XLA compilation.
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
        """All but the scores, as plain data."""
        fields = self._asdict()
        del fields["scores"]
        return fields | {"precision": self.precision, "recall": self.recall}


def check_inputs(*, n_inputs: int, ablation: str) -> None:
    """Refuses inputs that `make_contrast` cannot make.

    Raises:
      ValueError: `n_inputs` is smaller than 1, or there is no such ablation.
    """
    if n_inputs < 1:
        raise ValueError(f"n_inputs must be at least 1, got {n_inputs}")
    if ablation not in DISCOVERY_ABLATIONS:
        known = ", ".join(DISCOVERY_ABLATIONS)
        raise ValueError(f"unknown ablation {ablation!r}; known: {known}")


def selection_of(method: str, selection: str) -> Selection:
    """How circuits are read off a method's scores.

    Args:
      method: its name.
      selection: `top_n`, `greedy`, or `usual` for the one of the method's paper.

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
    """Draws clean and corrupted inputs of the model's case, with what is right on the clean ones.

    Args:
      model: the model to be looked at.
      key: a JAX random key, or a seed to make one of.
      n_inputs: how many of each.
      ablation: what patches put in, see `contrast_batch`.
      loss: what `optimal` constants minimise; by default the loss against what is right.
      n_rows: fill the batch up to so many rows with copies of the first that do not count, so that
        batches of different numbers of inputs share compiled programs.

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
        answer_in_chunks(task.answers, drawn.clean, drawn.clean, nothing)[0],
        jnp.asarray(drawn.positions),
        ablation=ablation,
        loss=loss or loss_to_target(task.categorical),
        foil=drawn.foil,
    )


def _filled(drawn: Contrast, n_rows: int) -> Contrast:
    """With copies of the first row that do not count."""
    missing = n_rows - len(drawn.clean)
    if missing < 0:
        raise ValueError(f"{len(drawn.clean)} inputs do not fit into {n_rows} rows")
    clean, corrupted, foil = (
        None if rows is None else np.concatenate([rows, np.repeat(rows[:1], missing, 0)])
        for rows in (drawn.clean, drawn.corrupted, drawn.foil)
    )
    assert clean is not None and corrupted is not None
    return Contrast(clean, corrupted, np.pad(drawn.positions, ((0, missing), (0, 0))), foil)


def run_methods(
    model: BenchmarkModel,
    methods: Sequence[str | Callable[..., Any]],
    batch: ContrastBatch,
    *,
    loss: Loss | None = None,
    seed: int = 0,
    selection: str = "usual",
) -> list[Finding]:
    """Runs each method and scores what it finds.

    Args:
      model: the model to be looked at.
      methods: functions; or their names in `discovery.METHODS`, and for one's own
        `module:function` or `file.py:function`.
      batch: inputs and what patches put in.
      loss: the one for all of them; by default each method's usual one.
      seed: of methods that draw.
      selection: how circuits are read off scores; by default as each method's paper does.

    Raises:
      ValueError: a method or the selection is not known, two are called the same, the seed is out
        of range, or the loss or a score is no number.
    """
    check_seed(seed)
    functions = methods_by_name(methods)  # all looked up before any runs
    selection_of("", selection)
    categorical = bool(jnp.issubdtype(batch.target.dtype, jnp.integer))
    truth = model.circuit
    findings = []
    for name, function in functions.items():
        built_in = METHODS.get(name) is function  # one's own may bear the same name
        used = loss or usual_loss(name if built_in else "", categorical)
        how = selection_of(name if built_in else "", selection)
        scores, time_taken = score_edges(model, name, function, batch, used, seed)
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
                seconds=time_taken.total - time_taken.compiling,
                compile_seconds=time_taken.compiling,
            )
        )
    return findings


def score_edges(
    model: BenchmarkModel,
    name: str,
    method: Callable[..., Any],
    batch: ContrastBatch,
    loss: Loss,
    seed: int,
) -> tuple[Float[np.ndarray, "writer reader"] | Float[np.ndarray, " writer"], TimeTaken]:
    """Calls a method, with the key or the truth if it asks for them.

    Args:
      model: the model to be looked at.
      name: what results call the method; its key depends on it.
      method: the function.
      batch: inputs and what patches put in.
      loss: the one it gets.
      seed: of methods that draw.

    Returns:
      Its scores, and how long it took.

    Raises:
      ValueError: the loss of the unpatched model, or a score, is no number.
    """
    unpatched = float(loss(batch.clean_logits, batch))
    if not math.isfinite(unpatched):
        raise ValueError(f"{_loss_name(loss)} of the unpatched model must be finite: {unpatched}")
    asked = knobs(method, key=key_of(seed, "method", model.case, name), truth=model.circuit.mask)
    with stopwatch() as time_taken:
        scores = np.asarray(method(model.params, model.config, batch, loss, **asked))
    if np.isnan(scores).any():
        raise ValueError(f"{name} gives NaN as a score; its loss was {_loss_name(loss)}")
    return scores, time_taken


def _loss_name(loss: Loss) -> str:
    return getattr(loss, "__name__", str(loss))  # a `functools.partial` has none


def methods_by_name(
    methods: Sequence[str | Callable[..., Any]],
) -> dict[str, Callable[..., Any]]:
    """Methods by what results call them.

    Args:
      methods: as of `run_methods`.

    Raises:
      ValueError: a method is not known, or two are called the same.
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
            raise ValueError(f"two methods are called {name!r}")
        found[name] = function
    return found


def write_findings(
    model: BenchmarkModel,
    findings: Sequence[Finding],
    directory: Path,
    settings: Mapping[str, Any],
) -> None:
    """Writes scores (`scores.npz`), figures (`findings.json`) and a drawing (`circuits.png`).

    Beside the methods' scores, `scores.npz` has the names of writers and readers. In the figures,
    what is not defined, such as the precision of an empty circuit, is null.

    Args:
      model: the model that was looked at.
      findings: one per method.
      directory: where to write; made if missing.
      settings: how they were made, for the record.

    Raises:
      ValueError: the directory cannot be written to.
    """
    make_directory(directory)
    scores = {finding.method: finding.scores for finding in findings}
    write_score_arrays(directory / "scores.npz", scores, model.graph)
    write_json(directory / "findings.json", [{**f.as_json(), **settings} for f in findings])
    found = {
        f"{f.method} ({f.selection})": found_circuit(f.scores, model.circuit, selection=f.selection)
        for f in findings
    }
    title = f"case {model.case}: {model.card['title']}"
    with replacing(directory / "circuits.png") as partial:
        draw_comparison(model.circuit, found, partial, title=title)


def _name_of(function: Callable[..., Any]) -> str:
    """What a function is called in `METHODS`, or else itself, without arguments given before."""
    while isinstance(function, functools.partial):
        function = function.func
    listed = (name for name, method in METHODS.items() if method is function)
    return next(listed, getattr(function, "__name__", type(function).__name__))


def _found(truth: Circuit, scores: EdgeScores | NodeScores, selection: Selection) -> dict[str, Any]:
    """The fields of `Finding` that name edges, each in graph order, and their numbers."""
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
