"""The shape and kind of a decoder: the options in which GPT-2, Pythia, Llama and others differ."""

import math
from dataclasses import dataclass
from reprlib import repr as short  # a bad value may be as long as a file
from typing import Literal

from interpbench_jax.model.config import check_fields, check_graph_size

Norm = Literal["layer_norm", "rms_norm"]
DecoderActivation = Literal["gelu", "gelu_tanh", "relu", "silu"]


@dataclass(frozen=True)
class Attention:
    """How the heads of one layer attend to earlier positions.

    Attributes:
      window: how many positions a head attends to, including its own; `None` is all up to its own.
      rotary: the angle, in radians, by which each pair of a head's dimensions rotates from one
        position to the next. Pair `i` is dimensions `i` and `i + len(rotary)`; dimensions beyond
        the pairs are not rotated. Empty for a model without rotary positions.
    """

    window: int | None = None
    rotary: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Checks the range of every field.

        Raises:
          ValueError: a field has an impossible value.
        """
        if self.window is not None and (type(self.window) is not int or self.window < 1):
            raise ValueError(f"window must be a positive integer, got {short(self.window)}")
        if not all(type(turn) is float and math.isfinite(turn) for turn in self.rotary):
            raise ValueError(f"rotary must be finite numbers, got {short(self.rotary)}")


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """Everything static about one decoder; hashable, so it can be a static argument of `jit`.

    Attributes:
      n_layers: blocks of attention and an MLP.
      n_heads: heads per layer; each has its own queries.
      n_kv_heads: number of key and value heads; each is shared by `n_heads / n_kv_heads`
        consecutive heads.
      d_model: width of the residual stream.
      d_head: width of one head's queries, keys and values.
      d_mlp: hidden units per MLP.
      n_ctx: the longest sequence.
      d_vocab: number of tokens.
      norm: normalisation of what readers take from the stream: `layer_norm` (to mean 0 and variance
        1, then scaled and shifted) or `rms_norm` (to mean square 1, then scaled).
      norm_eps: added to the variance or mean square in a norm.
      activation: `gelu` is the exact form, `gelu_tanh` the approximation that GPT-2 uses.
      gated: hidden units are a linear map times the activation of another linear map.
      parallel: attention and MLP of a layer read the same writers; the MLP does not read the heads
        of its own layer.
      post_norm: the outputs of a layer's attention and of its MLP are normalised. A head writes its
        share: its output divided by the root mean square of the sum of all heads' outputs.
      query_norm: queries and keys are normalised, with the scales of `rms_norm`.
      learned_positions: an embedding of the position is added to that of the token.
      tied: the unembedding is the embedding's transpose.
      attention: attention options, one per layer; a single one is used for all layers.
      attention_scale: factor of the products of queries and keys; by default `1 / sqrt(d_head)`.
      attention_cap: attention scores `s` become `cap * tanh(s / cap)`.
      logit_cap: logits are capped in the same way.
      embedding_scale: factor of the token embeddings.
      init_std: standard deviation of initial weights; biases start at zero, scales at one.
    """

    n_layers: int
    n_heads: int
    n_kv_heads: int
    d_model: int
    d_head: int
    d_mlp: int
    n_ctx: int
    d_vocab: int
    norm: Norm
    norm_eps: float
    activation: DecoderActivation
    gated: bool = False
    parallel: bool = False
    post_norm: bool = False
    query_norm: bool = False
    learned_positions: bool = False
    tied: bool = False
    attention: tuple[Attention, ...] = (Attention(),)
    attention_scale: float | None = None
    attention_cap: float | None = None
    logit_cap: float | None = None
    embedding_scale: float = 1.0
    init_std: float = 0.02

    def __post_init__(self) -> None:
        """Checks the type and the range of every field, and that the fields fit together.

        Raises:
          ValueError: a field has a wrong type, an impossible value, or one that contradicts
            another field.
        """
        check_fields(self)
        check_graph_size(self.n_layers, self.n_heads)
        if self.post_norm and self.norm != "rms_norm":
            raise ValueError("post_norm needs norm 'rms_norm': a shift would belong to no writer")
        if self.n_heads % self.n_kv_heads:
            raise ValueError(
                f"n_heads must be a multiple of n_kv_heads, got {self.n_heads} and "
                f"{self.n_kv_heads}"
            )
        if len(self.attention) == 1:
            object.__setattr__(self, "attention", self.attention * self.n_layers)
        if len(self.attention) != self.n_layers:
            raise ValueError(
                f"attention must have one entry or one per layer ({self.n_layers}), got "
                f"{len(self.attention)}"
            )
        for attention in self.attention:
            if 2 * len(attention.rotary) > self.d_head:
                raise ValueError(
                    f"rotary has {len(attention.rotary)} pairs of dimensions; a head has "
                    f"{self.d_head} dimensions"
                )

    @property
    def d_vocab_out(self) -> int:
        """Number of outputs: one per token."""
        return self.d_vocab

    @property
    def pad(self) -> None:
        """No padding: all sequences of a batch have the same length."""
        return None
