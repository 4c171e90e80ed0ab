"""Our discovery methods for `discovery_speed.py`, which runs one process for each method.

Answers JSON lines as `discovery_torch.py` does. The first line that it reads is the order in which
ACDC tries edges, or is empty.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from peak_memory import peak_mb
from timing import timed

from interpbench_jax.discovery import (
    Learning,
    acdc_circuits,
    contrast_batch,
    eap,
    eap_ig_masks,
    edge_patching,
    probe_edges,
    removal_order,
)
from interpbench_jax.discovery.acdc import Order
from interpbench_jax.discovery.losses import (
    cross_entropy,
    kl_to_clean,
    squared_error,
    squared_error_to_clean,
)
from interpbench_jax.model import Graph, Params, TransformerConfig
from interpbench_jax.model.graph import edge_name
from interpbench_jax.zoo import from_transformer_lens

Arrays = Mapping[str, np.ndarray]
Run = Callable[[], Float[Array, "writer reader"]]

METHODS = ("acdc", "acdc_first_writers", "eap", "eap_ig_masks", "edge_probing", "edge_patching")
_TURN_SECONDS = 0.5
_WEIGHTS = "model.weights."


def thresholds(arrays: Arrays) -> tuple[float, ...]:
    """Thresholds of ACDC, ascending."""
    powers = 10.0 ** arrays["tao_exponents"]
    return tuple(np.outer(arrays["tao_bases"], powers).ravel().tolist())


def load_model(arrays: Arrays) -> tuple[Params, TransformerConfig]:
    """Reads the model."""
    weights = {
        name.removeprefix(_WEIGHTS): weight
        for name, weight in arrays.items()
        if name.startswith(_WEIGHTS)
    }
    config = json.loads(str(arrays["model.config"]))
    params, shape = from_transformer_lens(
        weights, causal=config["causal"], normalization=None, activation=config["activation"]
    )
    return jax.tree.map(jnp.asarray, params), shape


def make_run(arrays: Arrays, method: str, order: list[str]) -> Run:
    """The method from tokens to scores, as one compiled function.

    It also computes the values that patches insert, since auto-circuit's functions do, too.
    """
    params, config = load_model(arrays)
    graph = Graph.of(config)
    categorical = arrays["target"].dtype.kind == "i"
    to_target = cross_entropy if categorical else squared_error
    to_clean = kl_to_clean if categorical else squared_error_to_clean
    taos = jnp.array(sorted(thresholds(arrays)))
    penalties = jnp.array([float(arrays["penalty"])])
    learning = Learning(steps=int(arrays["epochs"]), batch_size=len(arrays["clean"]))
    first = method == "acdc_first_writers"
    writers: Order = "first_writer_first" if first else "last_writer_first"
    edges = np.array([_edge(graph, name) for name in order] or removal_order(graph, writers))

    @jax.jit
    def run(params: Params, *inputs: Array) -> Float[Array, "writer reader"]:
        ablation = "mean_per_position" if method == "edge_probing" else "resample"
        batch = contrast_batch(params, config, *inputs, ablation=ablation)
        given = params, config, batch
        if method.startswith("acdc"):  # the order is the peer's
            kept = acdc_circuits(*given, to_clean, taos, edges).kept
            return jnp.where(kept, jnp.inf, taos[:, None, None]).min(0)
        if method == "eap":
            return eap(*given, to_target)
        if method == "eap_ig_masks":
            return eap_ig_masks(*given, to_target, steps=int(arrays["steps"]))
        if method == "edge_patching":
            return edge_patching(*given, to_target)
        loss = kl_to_clean if categorical else squared_error
        return probe_edges(*given, loss, penalties, jax.random.key(0), learning).kept[0]

    inputs = [jnp.asarray(arrays[name]) for name in ("clean", "corrupted", "target", "positions")]
    return lambda: run(params, *inputs)


def _edge(graph: Graph, name: str) -> tuple[int, int]:
    writer, reader = name.split("->")
    return graph.writer_index(writer), graph.reader_index(reader)


def seconds_of(run: Run, at_least: float) -> tuple[float, Float[Array, "writer reader"]]:
    """Seconds of the fastest call, and the last result; calls until `at_least` seconds passed."""
    taken: list[float] = []
    while not taken or sum(taken) < at_least:
        seconds, scores = timed(run)
        taken.append(seconds)
    return min(taken), scores


def serve(arrays: Arrays, method: str, order: list[str]) -> Iterator[dict[str, Any]]:
    """The lines to print: first the compile time, then one for every turn."""
    run = make_run(arrays, method, order)
    graph = Graph.of(load_model(arrays)[1])
    first, _ = seconds_of(run, 0.0)
    later, _ = seconds_of(run, 0.0)
    yield {"compile_s": first - later}
    while True:
        seconds, scores = seconds_of(run, _TURN_SECONDS)
        values = np.asarray(scores)
        by_edge = {
            edge_name(graph.writers[w], graph.readers[r]): float(values[w, r])
            for w, r in graph.edges
        }
        yield {"seconds": seconds, "scores": by_edge, "peak_mb": peak_mb()}


def main() -> None:
    """Answers every line read, the first of which is the order of edges, by one line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("problem", type=Path)
    parser.add_argument("method", choices=METHODS)
    given = parser.parse_args()
    with np.load(given.problem) as file:
        arrays = dict(file)
    order = json.loads(sys.stdin.readline())
    answers = serve(arrays, given.method, order)
    print(json.dumps(next(answers)), flush=True)
    for _ in sys.stdin:
        print(json.dumps(next(answers)), flush=True)


if __name__ == "__main__":
    main()
