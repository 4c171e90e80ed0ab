"""Time and peak memory of our discovery methods on larger models with random weights.

The largest model has the size of GPT-2 small (124 million weights).

Run: `.venv/bin/python benchmarks/discovery_scale.py`; or as part of `discovery_speed.py --scale`.
Every method runs in a separate process, whose peak memory includes Python and its libraries, the
weights and the inputs. The last line printed is JSON.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import tyro
from peak_memory import peak_mb
from timing import timed

from interpbench_jax.discovery import contrast_batch, eap, eap_ig_inputs, edge_patching
from interpbench_jax.discovery.losses import cross_entropy
from interpbench_jax.files import to_json
from interpbench_jax.model import DecoderConfig, DecoderNetwork, TransformerConfig
from interpbench_jax.model.network import TransformerNetwork

_SMALL = TransformerConfig(
    n_layers=6,
    n_heads=4,
    d_model=64,
    d_head=16,
    d_mlp=256,
    n_ctx=16,
    d_vocab=100,
    d_vocab_out=100,
    causal=True,
    layer_norm=True,
)
_LARGE = TransformerConfig(
    n_layers=12,
    n_heads=12,
    d_model=768,
    d_head=64,
    d_mlp=3_072,
    n_ctx=64,
    d_vocab=1_000,
    d_vocab_out=1_000,
    causal=True,
    layer_norm=True,
)
_GPT2 = DecoderConfig(
    n_layers=12,
    n_heads=12,
    n_kv_heads=12,
    d_model=768,
    d_head=64,
    d_mlp=3_072,
    n_ctx=1_024,
    d_vocab=50_257,
    norm="layer_norm",
    norm_eps=1e-5,
    activation="gelu_tanh",
    learned_positions=True,
    tied=True,
)
# Method, model, number of inputs, number of positions.
TASKS: dict[str, tuple[Callable[..., Any], TransformerNetwork, int, int]] = {
    "edge_patching": (edge_patching, TransformerNetwork(_SMALL), 256, 16),
    "eap": (eap, TransformerNetwork(_LARGE), 32, 64),
    "eap_ig_inputs": (eap_ig_inputs, TransformerNetwork(_LARGE), 32, 64),
    "eap_gpt2": (eap, DecoderNetwork(_GPT2), 32, 64),
}


def run_task(name: str) -> dict[str, Any]:
    """Makes the model and its inputs and runs the method twice."""
    method, network, n_inputs, n_pos = TASKS[name]
    n_tokens = network.config.d_vocab
    keys = jax.random.split(jax.random.key(0), 4)
    params = network.init(keys[0])
    clean, corrupted, target = (
        jax.random.randint(key, (n_inputs, n_pos), 0, n_tokens) for key in keys[1:]
    )
    weights = jnp.ones(clean.shape)
    batch_s, batch = timed(
        lambda: contrast_batch(params, network, clean, corrupted, target, weights)
    )
    batch_mb = peak_mb()
    first, _ = timed(lambda: method(params, network, batch, cross_entropy))
    later, scores = timed(lambda: method(params, network, batch, cross_entropy))
    assert jnp.isfinite(scores).all()
    return {
        "ours_s": round(later, 2),
        "compile_s": round(first - later, 2),
        "batch_s": round(batch_s, 2),
        "batch_mb": round(batch_mb),
        "ours_mb": round(peak_mb()),
        "n_edges": len(network.graph.edges),
    }


def measure_scale() -> Iterator[tuple[str, dict[str, Any]]]:
    """Runs every task in a separate process; yields its time and memory."""
    for name in TASKS:
        command = [sys.executable, __file__, "--task", name]
        ran = subprocess.run(command, capture_output=True, text=True)
        if ran.returncode:
            raise RuntimeError(f"{name} failed:\n{ran.stderr}")
        yield name, json.loads(ran.stdout.splitlines()[-1])


def main(task: str | None = None) -> None:
    """Measure discovery methods on larger models.

    Args:
      task: if given, measure only this task, in this process.
    """
    if task is not None:
        print(to_json(run_task(task)))
        return
    results = {}
    for name, found in measure_scale():
        results[name] = found
        print(f"{name}: {found}")
    print(to_json(results))


if __name__ == "__main__":
    tyro.cli(main)
