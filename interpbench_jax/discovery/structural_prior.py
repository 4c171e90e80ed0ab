"""A baseline: how often edges of a kind are in a circuit, independent of the model.

The shares are from the true circuits of all built-in cases; `python -m
interpbench_jax.discovery.structural_prior` recomputes them.
"""

import functools
import json
from collections import Counter
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from interpbench_jax.discovery.batch import ContrastBatch, Loss
from interpbench_jax.model import Graph, Params, TransformerConfig
from interpbench_jax.model.graph import TransformerGraph
from interpbench_jax.model.network import Network, as_network

_SHARES = Path(__file__).with_suffix(".json")


@functools.partial(jax.jit, static_argnames=("network", "loss"))
def structural_prior(
    params: Params, network: TransformerConfig | Network, batch: ContrastBatch, loss: Loss
) -> Float[Array, "writer reader"]:
    """Share of edges of the same kind and layers that are in the circuits of the built-in cases.

    A method that learns something from the model should be better than this. The shares include the
    case that is scored.

    Args:
      params: unused.
      network: a transformer's shape.
      batch: unused.
      loss: unused.

    Raises:
      ValueError: the model is not a transformer of this package.
    """
    del params, batch, loss
    graph, shares = as_network(network).graph, json.loads(_SHARES.read_text("utf-8"))
    if not isinstance(graph, TransformerGraph):
        raise ValueError(f"structural_prior needs a transformer, got {type(network).__name__}")
    scores = np.zeros(graph.valid.shape, np.float32)
    for writer, reader in graph.edges.tolist():
        scores[writer, reader] = shares.get(_kind(graph, writer, reader), 0.0)
    return jnp.asarray(scores)


def _kind(graph: Graph, writer: int, reader: int) -> str:
    return f"{_place(graph.writers[writer])}->{_place(graph.readers[reader])}"


def _place(name: str) -> str:
    """`a1.h2<q>` -> `a later <q>`: the kind of node, and whether its layer is the first."""
    if name in ("input", "logits"):
        return name
    layer = name[1:].split(".")[0]
    part = name[name.index("<") :] if "<" in name else ""
    return f"{name[0]} {'first' if layer == '0' else 'later'} {part}".strip()


def _rebuild() -> None:
    from interpbench_jax.alignment import align
    from interpbench_jax.cases import case_names
    from interpbench_jax.compiler import compile_case

    in_circuit: Counter[str] = Counter()
    possible: Counter[str] = Counter()
    for name in case_names():
        circuit = align(compile_case(name)).circuit
        mask, graph = circuit.mask, circuit.graph
        for writer, reader in graph.edges.tolist():
            kind = _kind(graph, writer, reader)
            possible[kind] += 1
            in_circuit[kind] += int(mask[writer, reader])
    shares = {kind: round(in_circuit[kind] / n, 5) for kind, n in sorted(possible.items())}
    _SHARES.write_text(json.dumps(shares, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    _rebuild()
