"""The layers of the transformer; features first, batch last."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from interpbench_jax.model.attention import Padding, attend
from interpbench_jax.model.columns import columnwise
from interpbench_jax.model.config import TransformerConfig

_ACTIVATIONS = {
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "gelu_tanh": lambda x: jax.nn.gelu(x, approximate=True),
    "relu": jax.nn.relu,
}
# `init_params` fills the weights in.
_BLANK = nn.initializers.zeros
# Up to here a product with one-hot tokens is faster than a gather and its scattered gradient.
_ONE_HOT_VOCAB = 128


class Embed(nn.Module):
    """Token embedding."""

    config: TransformerConfig

    @nn.compact
    def __call__(self, tokens: Int[Array, "pos batch"]) -> Float[Array, "d_model pos batch"]:
        """Looks the tokens up."""
        c = self.config
        table = self.param("W_E", _BLANK, (c.d_vocab, c.d_model))
        if c.d_vocab <= _ONE_HOT_VOCAB:
            one_hot = jax.nn.one_hot(tokens, c.d_vocab, axis=0, dtype=table.dtype)
            return columnwise("vd,vn->dn", table, one_hot, precision="highest")
        return table[tokens].transpose(2, 0, 1)


class PositionEmbed(nn.Module):
    """Learned position embedding."""

    config: TransformerConfig

    @nn.compact
    def __call__(self, n_pos: int) -> Float[Array, "d_model pos"]:
        """The embeddings of the first positions."""
        c = self.config
        table = self.param("W_pos", _BLANK, (c.n_ctx, c.d_model))
        return table[:n_pos].T


class Attention(nn.Module):
    """Multi-head attention whose heads are told apart."""

    config: TransformerConfig

    @nn.compact
    def __call__(
        self, seen: Float[Array, "reader d_model pos batch"], padding: Padding
    ) -> tuple[Float[Array, "head d_model pos batch"], Float[Array, " d_model"]]:
        """What each head writes, and the layer's output bias, which belongs to no head.

        Args:
          seen: the inputs of all q, k and v of the layer, or a single one that all of them see.
          padding: positions that are not to be attended to.
        """
        c = self.config
        inputs = jnp.split(seen, 3) if seen.shape[0] > 1 else [seen[0]] * 3
        projected = []
        for x, name in zip(inputs, "QKV", strict=True):
            weight = self.param(f"W_{name}", _BLANK, (c.n_heads, c.d_model, c.d_head))
            bias = self.param(f"b_{name}", _BLANK, (c.n_heads, c.d_head))
            spec = "hde,dn->hen" if x.ndim == 3 else "hde,hdn->hen"
            projected.append(columnwise(spec, weight, x) + bias[:, :, None, None])
        z = attend(*projected, causal=c.causal, padding=padding)
        weight = self.param("W_O", _BLANK, (c.n_heads, c.d_head, c.d_model))
        heads = columnwise("hed,hen->hdn", weight, z)
        return heads, self.param("b_O", _BLANK, (c.d_model,))


class Mlp(nn.Module):
    """Two linear maps with an activation between."""

    config: TransformerConfig
    detached: bool

    @nn.compact
    def __call__(self, x: Float[Array, "d_model pos batch"]) -> Float[Array, "d_model pos batch"]:
        """What the MLP writes."""
        c = self.config
        w_in = self.param("W_in", _BLANK, (c.d_model, c.d_mlp))
        b_in = self.param("b_in", _BLANK, (c.d_mlp,))
        w_out = self.param("W_out", _BLANK, (c.d_mlp, c.d_model))
        b_out = self.param("b_out", _BLANK, (c.d_model,))
        hidden = columnwise("dm,dn->mn", w_in, x) + b_in[:, None, None]
        hidden = _ACTIVATIONS[c.activation](hidden)
        hidden = jax.lax.stop_gradient(hidden) if self.detached else hidden
        return columnwise("md,mn->dn", w_out, hidden) + b_out[:, None, None]


class LayerNorm(nn.Module):
    """Normalises every vector to mean 0 and variance 1, then scales and shifts it."""

    config: TransformerConfig

    @nn.compact
    def __call__(self, x: Float[Array, "*reader d_model pos batch"]) -> Array:
        """Works on the `d_model` axis, third from the end."""
        c = self.config
        scale = self.param("w", _BLANK, (c.d_model,))
        shift = self.param("b", _BLANK, (c.d_model,))
        x = x - x.mean(-3, keepdims=True)
        x = x / jnp.sqrt((x * x).mean(-3, keepdims=True) + c.layer_norm_eps)
        fit = (1,) * (x.ndim - 3) + (c.d_model, 1, 1)
        return x * scale.reshape(fit) + shift.reshape(fit)


class Unembed(nn.Module):
    """From the residual stream to logits."""

    config: TransformerConfig

    @nn.compact
    def __call__(
        self, x: Float[Array, "d_model pos batch"]
    ) -> Float[Array, "d_vocab_out pos batch"]:
        """Logits."""
        c = self.config
        weight = self.param("W_U", _BLANK, (c.d_model, c.d_vocab_out))
        bias = self.param("b_U", _BLANK, (c.d_vocab_out,))
        return columnwise("dv,dn->vn", weight, x) + bias[:, None, None]
