"""Import of models that InterpBench published.

A folder `<case>/` holds `ll_model.pth` (weights, written by torch), `ll_model_cfg.pkl` (a pickled
config), `edges.pkl` (the true circuit) and sometimes `meta.json` (how it was trained). They are
read without torch, and nothing in them is run.

Source: Gupta et al. 2024, InterpBench, https://arxiv.org/abs/2407.14494.
"""

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

from interpbench_jax.alignment import Alignment, place
from interpbench_jax.compiler import get_task
from interpbench_jax.files import opened, read_bytes
from interpbench_jax.files.bounded import MEBIBYTE
from interpbench_jax.model import Circuit, Graph, Params, TransformerConfig
from interpbench_jax.model.circuit import Edge
from interpbench_jax.model.graph import TransformerGraph, edge_name
from interpbench_jax.tasks import Task
from interpbench_jax.zoo.hooked_config import (
    SIZES,
    DecoderOptions,
    decoder_options,
    read_hooked_config,
)
from interpbench_jax.zoo.make import assemble_model, provenance
from interpbench_jax.zoo.model import BenchmarkModel
from interpbench_jax.zoo.published_edges import edges_in, read_published_edges
from interpbench_jax.zoo.store import errors_prefixed_by, largest_weights, plain_json
from interpbench_jax.zoo.torch_files import LARGEST, read_torch
from interpbench_jax.zoo.transformer_lens import from_transformer_lens

WEIGHTS, CONFIG, EDGES, META = "ll_model.pth", "ll_model_cfg.pkl", "edges.pkl", "meta.json"

Truth = Literal["ours", "published"]

_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class Published:
    """An imported model, and the differences between its published circuit and ours.

    Attributes:
      model: the model, with the chosen ground truth.
      only_published: edges of the published circuit that ours lacks, with q, k and v merged.
      only_ours: edges of our circuit that the published one lacks.
    """

    model: BenchmarkModel
    only_published: tuple[str, ...]
    only_ours: tuple[str, ...]


def read_published(
    directory: str | Path,
    *,
    case: str | None = None,
    truth: Truth = "ours",
    source: Mapping[str, Any] | None = None,
) -> Published:
    """Reads a published model.

    Args:
      directory: the directory with the files.
      case: name of the task; by default the directory's name.
      truth: the circuit that methods are scored against: `ours`, the task's circuit aligned with
        the model; or `published`, the one in `edges.pkl`, to reproduce published numbers. The
        evaluation of the model does not depend on it.
      source: where the files come from, for the card.

    Raises:
      ValueError: a file is missing, damaged or has unexpected content; there is no such task, or
        the model does not have its shape; or our network does not support the config. The message
        names the file.
    """
    folder = _Folder(Path(directory))
    fields = folder.read(CONFIG, read_hooked_config)
    hooks = folder.read(EDGES, read_published_edges)
    meta = folder.read(META, plain_json) if (folder.place / META).exists() else None
    with errors_prefixed_by(folder.place / CONFIG):
        config = _config(fields)
        task = _task(case or folder.place.resolve().name, config)
    params = folder.read_weights(config, decoder_options(fields))
    alignment = place(task, config, task.places)
    with errors_prefixed_by(folder.place / EDGES):
        published, read_in = _published_circuit(task, alignment, hooks)
    model = assemble_model(task, alignment, params, card={})
    theirs, ours = published.head_edges, model.circuit.head_edges
    only_published, only_ours = _names(theirs - ours), _names(ours - theirs)
    card = {
        "case": task.name,
        "title": task.title,
        "metrics": {},
        "imported": {
            **(source or {"from": str(directory)}),
            "sha256": folder.checksums,
            "config": fields,
            "meta": meta,
            "edges": [list(pair) for pair in hooks],
            "edges_read_in": read_in,
            "only_published": list(only_published),
            "only_ours": list(only_ours),
            "truth": truth,
        },
        **provenance(),
    }
    return Published(
        model=replace(
            model, card=card, circuit=published if truth == "published" else model.circuit
        ),
        only_published=only_published,
        only_ours=only_ours,
    )


class _Folder:
    """The files of one model; records the checksums of the files read."""

    def __init__(self, place: Path) -> None:
        if not place.is_dir():
            raise ValueError(f"no directory {place}")
        self.place = place
        self.checksums: dict[str, str] = {}

    def read(self, name: str, parse: Callable[[bytes], _T]) -> _T:
        try:
            content = read_bytes(self.place / name, limit=MEBIBYTE)
        except FileNotFoundError:
            raise ValueError(f"{self.place / name} is missing") from None
        self.checksums[name] = hashlib.sha256(content).hexdigest()
        with errors_prefixed_by(self.place / name):
            return parse(content)

    def read_weights(self, expected: TransformerConfig, options: DecoderOptions) -> Params:
        """The weights, checked for the expected shape; a file that is too large is not read."""
        file = self.place / WEIGHTS
        with errors_prefixed_by(file):
            limit = largest_weights(expected) + expected.n_layers * expected.n_ctx**2  # the masks
        try:
            state = read_torch(file, limit=min(limit, LARGEST))
        except FileNotFoundError:
            raise ValueError(f"{file} is missing") from None
        with opened(file, limit=LARGEST) as (stream, _):
            self.checksums[WEIGHTS] = hashlib.file_digest(stream, "sha256").hexdigest()
        with errors_prefixed_by(file):
            if not isinstance(state, dict) or not all(map(_is_weight, state.items())):
                raise ValueError("it holds something other than weights by name")
            params, config = from_transformer_lens(state, **options._asdict())
            for field in dataclasses.fields(TransformerConfig):
                found, stated = getattr(config, field.name), getattr(expected, field.name)
                if found != stated:
                    raise ValueError(f"{field.name} is {found}, its config says {stated}")
        return params


def _is_weight(item: tuple[Any, Any]) -> bool:
    return type(item[0]) is str and isinstance(item[1], np.ndarray)


def _config(fields: Mapping[str, Any]) -> TransformerConfig:
    """The shape that a config describes.

    Raises:
      ValueError: as `decoder_options`, or a size is out of range.
    """
    options = decoder_options(fields)
    return TransformerConfig(
        **{size: fields[size] for size in SIZES},
        causal=options.causal,
        activation=options.activation,
        layer_norm=options.normalization is not None,
        layer_norm_eps=options.layer_norm_eps,
    )


def _task(name: str, config: TransformerConfig) -> Task:
    """The task of a model, if its inputs and answers fit the model's.

    Raises:
      ValueError: there is no such task, or it needs another model.
    """
    task = get_task(name)
    for field in ("d_vocab", "d_vocab_out", "causal"):
        found, needed = getattr(config, field), getattr(task.network, field)
        if found != needed:
            raise ValueError(f"{field} is {found}, the task {name!r} needs {needed}")
    if config.n_ctx < task.network.n_ctx:
        raise ValueError(
            f"n_ctx is {config.n_ctx}, the task {name!r} needs {task.network.n_ctx} at least"
        )
    return task


def _published_circuit(
    task: Task, alignment: Alignment[TransformerConfig], hooks: Sequence[tuple[str, str]]
) -> tuple[Circuit, str]:
    """The published edges in the graph of the model, and the graph in which they were read.

    They name nodes of the trained model or of the compiled model; the files do not say which. If
    both readings are valid, the one closer to our truth is taken.

    Raises:
      ValueError: neither reading is valid.
    """
    readings: list[tuple[Circuit, str]] = []
    fault: ValueError | None = None
    try:
        readings.append((edges_in(Graph.of(alignment.network), hooks), "trained"))
    except ValueError as error:
        fault = error
    try:
        readings.append((_laid_over(task, alignment, hooks), "compiled"))
    except ValueError as error:
        fault = fault or error
    if not readings:
        raise fault or ValueError("no edges")
    ours = alignment.circuit.head_edges
    return min(readings, key=lambda reading: len(reading[0].head_edges ^ ours))


def _laid_over(
    task: Task, alignment: Alignment[TransformerConfig], hooks: Sequence[tuple[str, str]]
) -> Circuit:
    """Edges of the compiled model, mapped to the nodes of the trained model."""
    graph = task.circuit.graph
    if not isinstance(graph, TransformerGraph):
        raise ValueError(f"the algorithm of {task.name!r} is not a transformer")
    edges = edges_in(graph, hooks).edges
    try:
        placed = frozenset(one for edge in edges for one in alignment.edges_of(edge))
    except KeyError as error:
        raise ValueError(f"the node {error} holds no variable") from error
    return Circuit(alignment.graph, placed)


def _names(edges: Iterable[Edge]) -> tuple[str, ...]:
    return tuple(sorted(edge_name(*edge) for edge in edges))
