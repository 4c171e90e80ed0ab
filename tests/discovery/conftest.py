"""A model small enough to patch every edge by hand, and inputs for it."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import pytest

from interpbench_jax.discovery import contrast_batch
from interpbench_jax.model import TransformerConfig

CONFIG = TransformerConfig(
    n_layers=2,
    n_heads=2,
    d_model=4,
    d_head=2,
    d_mlp=5,
    n_ctx=3,
    d_vocab=4,
    d_vocab_out=3,
    causal=True,
)


@pytest.fixture(scope="session")
def small():
    """Two layers of two heads: every kind of edge, within a layer and across."""
    return CONFIG


@pytest.fixture(scope="session")
def one_layer():
    """The same with one layer, for tests that do not depend on depth; it compiles twice as fast."""
    return dataclasses.replace(CONFIG, n_layers=1)


@pytest.fixture(scope="session")
def make_batch():
    """A function that pairs up four fixed inputs of full length; BOS is not counted."""

    @functools.partial(jax.jit, static_argnums=1)
    def pair(params, config):
        here = slice(config.n_ctx)
        return contrast_batch(
            params,
            config,
            clean=jnp.array([[0, 1, 2], [0, 3, 1], [0, 2, 2], [0, 1, 3]])[:, here],
            corrupted=jnp.array([[0, 3, 1], [0, 1, 2], [0, 1, 3], [0, 2, 0]])[:, here],
            target=jnp.array([[0, 1, 2], [0, 2, 0], [0, 1, 1], [0, 0, 2]])[:, here],
            positions=jnp.array([[0.0, 1.0, 1.0]] * 4)[:, here],
        )

    return pair
