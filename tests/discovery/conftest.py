"""A model small enough to patch every edge of by hand, and inputs for it."""

import jax.numpy as jnp
import pytest

from interpbench_jax.discovery import contrast_batch
from interpbench_jax.model import TransformerConfig

CONFIG = TransformerConfig(
    **{"n_layers": 2, "n_heads": 2, "d_model": 4, "d_head": 2, "d_mlp": 5},
    **{"n_ctx": 3, "d_vocab": 4, "d_vocab_out": 3, "causal": True},
)


@pytest.fixture(scope="session")
def small():
    """The config of all models here, unless a test needs another."""
    return CONFIG


@pytest.fixture(scope="session")
def make_batch():
    """A function that pairs up four fixed inputs; position 0 is not counted."""

    def pair(params, config=CONFIG):
        return contrast_batch(
            params,
            config,
            clean=jnp.array([[0, 1, 2], [0, 3, 1], [0, 2, 2], [0, 1, 3]]),
            corrupted=jnp.array([[0, 3, 1], [0, 1, 2], [0, 1, 3], [0, 2, 0]]),
            target=jnp.array([[0, 1, 2], [0, 2, 0], [0, 1, 1], [0, 0, 2]]),
            positions=jnp.array([0.0, 1.0, 1.0]),
        )

    return pair
