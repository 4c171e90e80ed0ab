"""Writes the scores of auto-circuit in two tiny networks, as files that tests compare with.

Run: `.venv/bin/python benchmarks/discovery_golden.py --peer-python PATH`, with a Python that has
the packages listed in `discovery_torch.py`. For each network it writes weights and inputs
(`NAME.npz`), and the scores of every method by edge with the order in which ACDC tried edges
(`NAME.json`).

- `random`: two layers of two causal heads with random weights; outputs are labels.
- `one_way`: one layer in which only the path `input->m0->logits` carries information; outputs are
  values, and the scores can be computed by hand.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import tyro
from discovery_speed import worker, write_problem
from jaxtyping import Array

from interpbench_jax.discovery import contrast_batch
from interpbench_jax.files import write_json
from interpbench_jax.model import Params, TransformerConfig, init_params

_PEER = Path(__file__).with_name("discovery_torch.py")
_METHODS = ("eap", "eap_ig_masks", "edge_patching", "acdc")
_INPUTS = 16


def random_network() -> tuple[Params, TransformerConfig]:
    """Weights large enough that attention is not uniform."""
    config = TransformerConfig(
        n_layers=2,
        n_heads=2,
        d_model=4,
        d_head=2,
        d_mlp=5,
        n_ctx=4,
        d_vocab=5,
        d_vocab_out=3,
        causal=True,
        init_std=0.8,
    )
    return init_params(config, jax.random.key(0)), config


def one_way_network() -> tuple[Params, TransformerConfig]:
    """The input writes where the output map does not read; the MLP copies it to where it does."""
    config = TransformerConfig(
        n_layers=1,
        n_heads=1,
        d_model=2,
        d_head=1,
        d_mlp=1,
        n_ctx=4,
        d_vocab=4,
        d_vocab_out=1,
        activation="relu",
    )
    params = jax.tree.map(jnp.zeros_like, dict(init_params(config, jax.random.key(0))))
    params["embed"]["W_E"] = jnp.array([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [3.0, 0.0]])
    params["blocks_0"]["mlp"]["W_in"] = jnp.array([[1.0], [0.0]])
    params["blocks_0"]["mlp"]["W_out"] = jnp.array([[0.0, 1.0]])
    params["unembed"]["W_U"] = jnp.array([[0.0], [1.0]])
    return params, config


def inputs(config: TransformerConfig) -> tuple[Array, Array, Array, Array]:
    """Clean and corrupted tokens, right outputs (also random), and the positions that count."""
    clean, corrupted, target = jax.random.randint(
        jax.random.key(1), (3, _INPUTS, config.n_ctx), 0, config.d_vocab
    )
    right = target.astype(float) if config.d_vocab_out == 1 else target % config.d_vocab_out
    positions = jnp.ones(clean.shape).at[:, 0].set(0.0)
    return clean, corrupted, right, positions


def main(*, peer_python: str, out: Path = Path("tests/golden/auto_circuit")) -> None:
    """Run auto-circuit on tiny networks.

    Args:
      peer_python: the Python that has auto-circuit.
      out: directory for the files.
    """
    out.mkdir(parents=True, exist_ok=True)
    for name, (params, config) in (("random", random_network()), ("one_way", one_way_network())):
        problem = out / f"{name}.npz"
        write_problem(problem, params, config, contrast_batch(params, config, *inputs(config)))
        found: dict[str, Any] = {}
        for method in _METHODS:
            with worker(peer_python, _PEER, str(problem), method) as ask:
                found["order"] = ask(None)["order"]
                found[method] = ask(0)["scores"]
        write_json(out / f"{name}.json", found)


if __name__ == "__main__":
    tyro.cli(main)
