"""Methods that change the backward pass: the same scores as in torch, and unchanged outputs."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from interpbench_jax.discovery import METHODS, contrast_batch
from interpbench_jax.model import DecoderConfig, DecoderNetwork, Graph, TransformerConfig
from interpbench_jax.model.backward import DERIVATIVE, Backward
from interpbench_jax.model.decoders import Attention
from interpbench_jax.model.network import Network, TransformerNetwork, with_backward
from interpbench_jax.zoo import from_transformer_lens
from tests.golden_files import GOLDEN, arrays_of

CHANGES = {
    "norms": Backward(constant_norms=True),
    "temperature": Backward(softmax_temperature=2.0),
    "attention": Backward(constant_attention=True),
    "shares": Backward(qkv_shares=(0.25, 0.5, 0.75)),
    "activations": Backward(proportional_activations=True),
    "gates": Backward(gate_share=0.5),
}
DECODER = DecoderConfig(
    n_layers=1,
    n_heads=2,
    n_kv_heads=1,
    d_model=6,
    d_head=4,
    d_mlp=8,
    n_ctx=5,
    d_vocab=7,
    norm="rms_norm",
    norm_eps=1e-5,
    activation="silu",
    gated=True,
    attention=(Attention(rotary=(1.0, 0.1)),),
    init_std=0.5,
)
TRANSFORMER = TransformerConfig(
    n_layers=1,
    n_heads=2,
    d_model=6,
    d_head=3,
    d_mlp=8,
    n_ctx=5,
    d_vocab=7,
    d_vocab_out=3,
    causal=True,
    layer_norm=True,
    init_std=0.5,
)
NETWORKS = {
    "transformer": TransformerNetwork(TRANSFORMER),
    "decoder": DecoderNetwork(DECODER),
}


@pytest.fixture(scope="module")
def golden() -> Any:
    """A model of TransformerLens, inputs, a loss, and scores of every edge for each method."""
    place = GOLDEN / "backward_passes"
    params, config = from_transformer_lens(
        arrays_of(place / "model.npz"), causal=True, normalization="LN", activation="gelu"
    )
    arrays = arrays_of(place / "scores.npz")
    clean, corrupted = (jnp.asarray(arrays[name], jnp.int32) for name in ("clean", "corrupted"))
    batch = contrast_batch(
        params,
        config,
        clean,
        corrupted,
        target=jnp.zeros_like(clean),
        positions=jnp.ones(clean.shape),
    )

    def loss(logits, _):
        return (logits * arrays["weights"]).mean()

    return params, config, batch, loss, arrays


@pytest.mark.parametrize("method", ["eap", "gim", "relp"])
def test_scores_are_those_of_torch(golden: Any, method: str) -> None:
    """`gim` is compared with gim-explain, `relp` with hooks of TransformerLens."""
    params, config, batch, loss, arrays = golden
    valid = Graph.of(config).valid
    expected = arrays[method] * valid
    found = np.asarray(METHODS[method](params, config, batch, loss))
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())
    assert method == "eap" or np.abs(expected - arrays["eap"] * valid).max() > 0.01


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize("change", CHANGES)
def test_only_the_gradient_changes(network: Network, change: str) -> None:
    tokens = jnp.array([[0, 3, 1, 6, 2], [5, 1, 1, 4, 0]])
    params = network.init(jax.random.key(0))
    changed = with_backward(network, CHANGES[change])

    @functools.partial(jax.jit, static_argnums=0)
    def run(network: Network) -> Any:
        def total(params):
            logits, _ = network.run(params, tokens)
            return (logits * jnp.sin(jnp.arange(logits.size).reshape(logits.shape))).sum()

        return network.run(params, tokens), jax.grad(total)(params)

    (outputs, gradient), (same, other) = run(network), run(changed)
    for one, two in zip(outputs, same, strict=True):
        np.testing.assert_array_equal(one, two)
    differs = jax.tree.map(lambda one, two: float(jnp.abs(one - two).max()), gradient, other)
    has_gates = isinstance(network, DecoderNetwork)
    assert (max(jax.tree.leaves(differs)) > 1e-4) == (change != "gates" or has_gates)
    if change == "attention":
        for weight in ("W_Q", "W_K"):
            assert not np.any(other["blocks_0"]["attn"][weight])
    if change == "shares":
        for weight, share in (("W_Q", 0.25), ("W_K", 0.5), ("W_V", 0.75)):
            one, two = (side["blocks_0"]["attn"][weight] for side in (gradient, other))
            np.testing.assert_allclose(two, share * one, atol=1e-5)
    if change == "gates" and has_gates:
        for weight in ("W_in", "W_gate"):
            one, two = (side["blocks_0"]["mlp"][weight] for side in (gradient, other))
            np.testing.assert_allclose(two, 0.5 * one, atol=1e-5)


def test_an_activation_may_be_zero() -> None:
    def total(x):
        return Backward(proportional_activations=True).activation(jax.nn.relu, x).sum()

    x = jnp.array([-1.0, 0.0, 2.0])
    np.testing.assert_array_equal(jax.grad(total)(x), [0.0, 0.0, 1.0])


def test_a_temperature_is_positive() -> None:
    with pytest.raises(ValueError, match="softmax_temperature must be positive, got 0"):
        Backward(softmax_temperature=0.0)


def test_other_networks_are_refused() -> None:
    class Other(Network):
        @property
        def graph(self) -> Graph:
            return Graph.of(TRANSFORMER)

        def run(self, *_: Any) -> Any:
            raise NotImplementedError

    with pytest.raises(ValueError, match="Other is not a transformer"):
        with_backward(Other(), DERIVATIVE)
