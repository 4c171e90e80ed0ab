"""Seconds and memory to load a state dict of 85 million weights, in every format that we read.

Run: `.venv/bin/python benchmarks/import_speed.py`. Random weights (12 layers, 12 heads, width 768)
are written by TransformerLens names, and each file is loaded in a separate process. Seconds exclude
Python's start and imports; peak memory is what loading adds, compared with the size of the weights.
The last line printed is JSON.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import tyro
from peak_memory import peak_mb

from interpbench_jax.files import to_json
from interpbench_jax.model import TransformerConfig, init_params
from interpbench_jax.zoo import load_transformer_lens, save_transformer_lens

_CONFIG = TransformerConfig(
    n_layers=12, n_heads=12, d_model=768, d_head=64, d_mlp=3_072, n_ctx=1_024, d_vocab=300,
    d_vocab_out=300, causal=True, layer_norm=False,
)  # fmt: skip


def main(
    suffixes: tuple[str, ...] = (".pth", ".safetensors", ".npz"),
    *,
    load: Path | None = None,
) -> None:
    """Measure.

    Args:
      suffixes: formats.
      load: a file to load in this process, which then prints seconds and MiB.
    """
    if load is not None:
        print(to_json(_load(load)))
        return
    params = init_params(_CONFIG, jax.random.key(0))
    size = sum(weight.nbytes for weight in jax.tree.leaves(params))
    found = {}
    with tempfile.TemporaryDirectory() as directory:
        for suffix in suffixes:
            file = Path(directory) / f"weights{suffix}"
            save_transformer_lens(params, file)
            command = [sys.executable, __file__, "--load", str(file)]
            row = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
            found[suffix] = row
            times = row["mb"] * 2**20 / size
            print(f"{suffix}: {size / 1e6:.0f} MB in {row['s']:.1f} s, {times:.2f} times in memory")
    print(to_json(found))


def _load(file: Path) -> dict[str, float]:
    before, started = peak_mb(), time.perf_counter()
    params, _ = load_transformer_lens(file, causal=True, normalization=None, activation="gelu")
    jax.block_until_ready(params)
    return {"s": time.perf_counter() - started, "mb": peak_mb() - before}


if __name__ == "__main__":
    tyro.cli(main)
