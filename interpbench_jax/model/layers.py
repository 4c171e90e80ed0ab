"""The layers of the transformer; features first, batch last."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from interpbench_jax.model.activations import ACTIVATIONS
from interpbench_jax.model.attention import Heads, Padding, attend
from interpbench_jax.model.backward import DERIVATIVE, Backward
from interpbench_jax.model.columns import columnwise
from interpbench_jax.model.config import TransformerConfig
from interpbench_jax.model.norms import layer_norm

# `init_params` fills the weights in.
_BLANK = nn.initializers.zeros
# Up to this size a product with one-hot tokens is faster than a gather and its scattered gradient.
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
            return columnwise("vd,vn->dn", table, one_hot)
        return table[tokens].transpose(2, 0, 1)


class PositionEmbed(nn.Module):
    """Learned position embedding."""

    config: TransformerConfig

    @nn.compact
    def __call__(self, n_pos: int) -> Float[Array, "d_model pos"]:
        """The embeddings of the first `n_pos` positions."""
        c = self.config
        table = self.param("W_pos", _BLANK, (c.n_ctx, c.d_model))
        return table[:n_pos].T


class Attention(nn.Module):
    """Multi-head attention up to the heads' output maps, which the stream applies."""

    config: TransformerConfig
    backward: Backward = DERIVATIVE

    @nn.compact
    def __call__(
        self, seen: Float[Array, "reader d_model pos batch"], padding: Padding
    ) -> tuple[Heads, Float[Array, "head d_head d_model"], Float[Array, " d_model"]]:
        """The inputs of the heads' output maps, these maps, and the layer's output bias.

        Args:
          seen: the inputs of all q, k and v of the layer, or a single input that all of them see.
          padding: positions that are masked out.
        """
        c = self.config
        weights = jnp.stack(
            [self.param(f"W_{name}", _BLANK, (c.n_heads, c.d_model, c.d_head)) for name in "QKV"]
        )
        biases = jnp.stack(
            [self.param(f"b_{name}", _BLANK, (c.n_heads, c.d_head)) for name in "QKV"]
        )
        if seen.shape[0] == 1:
            maps = weights.transpose(0, 1, 3, 2).reshape(-1, c.d_model)
            projected = columnwise("fd,dn->fn", maps, seen[0])
            projected = projected.reshape(3, c.n_heads, c.d_head, *seen.shape[2:])
        else:
            each = seen.reshape(3, c.n_heads, *seen.shape[1:])
            projected = columnwise("rhde,rhdn->rhen", weights, each)
        qkv = projected + biases[..., None, None]
        z = attend(qkv, causal=c.causal, padding=padding, backward=self.backward)
        weight = self.param("W_O", _BLANK, (c.n_heads, c.d_head, c.d_model))
        return z, weight, self.param("b_O", _BLANK, (c.d_model,))


class Mlp(nn.Module):
    """A linear map and an activation; the stream applies the second map."""

    config: TransformerConfig
    backward: Backward = DERIVATIVE

    @nn.compact
    def __call__(
        self, x: Float[Array, "d_model pos batch"]
    ) -> tuple[
        Float[Array, "d_mlp pos batch"], Float[Array, "d_mlp d_model"], Float[Array, " d_model"]
    ]:
        """The hidden units, the output map and its bias."""
        c = self.config
        w_in = self.param("W_in", _BLANK, (c.d_model, c.d_mlp))
        b_in = self.param("b_in", _BLANK, (c.d_mlp,))
        hidden = columnwise("dm,dn->mn", w_in, x) + b_in[:, None, None]
        w_out = self.param("W_out", _BLANK, (c.d_mlp, c.d_model))
        b_out = self.param("b_out", _BLANK, (c.d_model,))
        return self.backward.activation(ACTIVATIONS[c.activation], hidden), w_out, b_out


class LayerNorm(nn.Module):
    """Normalises every vector to mean 0 and variance 1, then scales and shifts it."""

    config: TransformerConfig
    backward: Backward = DERIVATIVE

    @nn.compact
    def __call__(self, x: Float[Array, "*reader d_model pos batch"]) -> Array:
        """Works on the `d_model` axis, third from the end."""
        c = self.config
        scale = self.param("w", _BLANK, (c.d_model,))
        shift = self.param("b", _BLANK, (c.d_model,))
        return layer_norm(x, scale, shift, c.layer_norm_eps, self.backward)


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
