"""Reads arrays, and the PyTorch original's outputs in `tests/golden`, with our names."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from interpbench_jax.discovery import ContrastBatch, contrast_batch
from interpbench_jax.model import Graph, Params, TransformerConfig
from interpbench_jax.model.config import Activation
from interpbench_jax.zoo import from_transformer_lens

GOLDEN = Path(__file__).parent / "golden"


def arrays_of(file: Path) -> dict[str, np.ndarray]:
    """The arrays in an `.npz` file, which is closed."""
    with np.load(file) as arrays:
        return dict(arrays)


@dataclass(frozen=True)
class GoldenCase:
    """One case of the original."""

    number: str

    @property
    def directory(self) -> Path:
        return GOLDEN / f"case{self.number}"

    @property
    def categorical(self) -> bool:
        return self.number == "13"

    def json(self, name: str) -> Any:
        return json.loads((self.directory / name).read_text())

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        return arrays_of(self.directory / name)

    def weights(self, name: str) -> tuple[Params, TransformerConfig]:
        activation: Activation = "relu" if name.startswith("hl") else "gelu"
        state = self.arrays(name)
        return from_transformer_lens(
            state, causal=self.number == "3", normalization=None, activation=activation
        )

    def tokens(self, kind: str) -> jnp.ndarray:
        return jnp.asarray(self.arrays("io.npz")[f"{kind}_x"].astype(np.int32))

    def target(self, kind: str) -> jnp.ndarray:
        values = self.arrays("io.npz")[f"{kind}_y"]
        return jnp.asarray(values.argmax(-1) if self.categorical else values[..., 0])

    @property
    def positions(self) -> jnp.ndarray:
        return jnp.ones(self.tokens("clean").shape).at[:, 0].set(0)

    def batch(self, params: Params, config: TransformerConfig) -> ContrastBatch:
        clean, corrupted = self.tokens("clean"), self.tokens("corrupt")
        return contrast_batch(
            params, config, clean, corrupted, self.target("clean"), self.positions
        )

    def edge_scores(self, name: str, graph: Graph) -> np.ndarray:
        scores = np.zeros(graph.valid.shape)
        for writer, reader, score in self.json(name)["edges"]:
            scores[edge_index(graph, writer, reader)] = score
        return scores


def edge_index(graph: Graph, writer: str, reader: str) -> tuple[int, int]:
    """Indices of an edge given by the original's names."""
    return graph.writer_index(our_name(writer)), graph.reader_index(our_name(reader))


def our_name(name: str, index: str = "") -> str:
    """Our name for `A0.1.Q`, `MLP 0`, or a hook with an index."""
    if name in ("Resid Start", "Resid End"):
        return "input" if name == "Resid Start" else "logits"
    if match := re.fullmatch(r"MLP (\d+)|blocks\.(\d+)\.mlp.*|blocks\.(\d+)\.hook_mlp_out", name):
        return f"m{next(group for group in match.groups() if group)}"
    if match := re.fullmatch(r"A(\d+)\.(\d+)(?:\.([QKV]))?", name):
        layer, head, kind = match.groups()
        return f"a{layer}.h{head}" + (f"<{kind.lower()}>" if kind else "")
    if match := re.fullmatch(r"blocks\.(\d+)\.attn\.hook_result", name):
        return f"a{match.group(1)}.h{index.split(',')[2].strip()}"
    raise ValueError(f"no node of that name: {name!r} {index!r}")
