"""Models padded to more tokens and outputs give the same results."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from interpbench_jax.discovery import contrast_batch, eap
from interpbench_jax.discovery.losses import cross_entropy, kl_to_clean
from interpbench_jax.model import TransformerConfig, forward, init_params
from interpbench_jax.model.vocabularies import pad_vocabularies

SMALL = TransformerConfig(
    n_layers=2, n_heads=2, d_model=8, d_head=4, d_mlp=16, n_ctx=5, d_vocab=5, d_vocab_out=3
)
LARGE = replace(SMALL, d_vocab=9, d_vocab_out=7)
PARAMS = init_params(replace(SMALL, init_std=0.5), jax.random.key(0))
PADDED = pad_vocabularies(PARAMS, d_vocab=9, d_vocab_out=7)
TOKENS = jax.random.randint(jax.random.key(1), (2, 6, 5), 0, 5)
COUNT = jnp.ones((6, 5))


@pytest.fixture
def in_float64():
    """Weights in float64: how float32 is rounded depends on the shapes, on some CPUs."""
    with jax.enable_x64(True):
        yield jax.tree.map(np.float64, (PARAMS, PADDED))


def test_outputs_stay_the_same_and_added_ones_never_occur(in_float64) -> None:
    params, more = in_float64
    logits, _ = forward(params, SMALL, TOKENS[0])
    padded, _ = forward(more, LARGE, TOKENS[0])
    assert padded.dtype == np.float64
    np.testing.assert_allclose(padded[..., :3], logits, atol=1e-6)
    assert (jax.nn.softmax(padded)[..., 3:] == 0).all()
    assert (padded.argmax(-1) == logits.argmax(-1)).all()


@pytest.mark.parametrize("loss", [cross_entropy, kl_to_clean])
def test_methods_give_the_same_scores(loss, in_float64) -> None:
    small, large = in_float64
    target = jnp.asarray(forward(small, SMALL, TOKENS[1])[0].argmax(-1))
    own, padded = (
        eap(
            params,
            config,
            contrast_batch(params, config, TOKENS[0], TOKENS[1], target, COUNT),
            loss,
        )
        for params, config in ((small, SMALL), (large, LARGE))
    )
    np.testing.assert_allclose(padded, own, atol=1e-6)
    assert jnp.isfinite(padded).all()


def test_weights_as_loaded_from_a_file() -> None:
    loaded = jax.tree.map(np.asarray, PARAMS)
    padded = pad_vocabularies(loaded, d_vocab=9, d_vocab_out=7)
    jax.tree.map(np.testing.assert_array_equal, padded, PADDED)


def test_several_models_are_padded_at_once() -> None:
    stacked = jax.tree.map(lambda x: jnp.stack([x, 2 * x]), PARAMS)
    both = pad_vocabularies(stacked, d_vocab=9, d_vocab_out=7)
    jax.tree.map(lambda one, two: np.testing.assert_array_equal(one, two[0]), PADDED, both)


@pytest.mark.parametrize(
    ("d_vocab", "d_vocab_out", "message"),
    [(4, 7, "5 tokens cannot be padded to 4"), (9, 2, "3 outputs cannot be padded to 2")],
)
def test_smaller_vocabularies_are_refused(d_vocab: int, d_vocab_out: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pad_vocabularies(PARAMS, d_vocab=d_vocab, d_vocab_out=d_vocab_out)
