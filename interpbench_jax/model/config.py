"""The shape and kind of a transformer."""

from dataclasses import dataclass, fields
from typing import Literal, get_args

Activation = Literal["gelu", "gelu_tanh", "relu"]


@dataclass(frozen=True, kw_only=True)
class TransformerConfig:
    """Everything static about one transformer; hashable, so it can be a static argument of `jit`.

    Attributes:
      n_layers: blocks of attention followed by an MLP.
      n_heads: heads per attention layer.
      d_model: width of the residual stream.
      d_head: width of one head's queries, keys and values.
      d_mlp: hidden units per MLP.
      n_ctx: the longest sequence, BOS included.
      d_vocab: number of input tokens.
      d_vocab_out: number of outputs; 1 for a regression.
      causal: whether a position sees only itself and earlier ones.
      pad: the token that fills up shorter sequences, which no position attends to; `None` where
        all sequences of a batch have one length.
      activation: `gelu` is the exact form, `gelu_tanh` the approximation GPT-2 uses.
      layer_norm: LayerNorm before every block and before the unembedding.
      layer_norm_eps: added to the variance there.
      init_std: standard deviation of initial weights; biases start at zero.
    """

    n_layers: int
    n_heads: int
    d_model: int
    d_head: int
    d_mlp: int
    n_ctx: int
    d_vocab: int
    d_vocab_out: int
    causal: bool = False
    pad: int | None = None
    activation: Activation = "gelu"
    layer_norm: bool = False
    layer_norm_eps: float = 1e-5
    init_std: float = 0.02

    def __post_init__(self) -> None:
        """Checks every size and choice."""
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type is int and (not isinstance(value, int) or value < 1):
                raise ValueError(f"{field.name} must be a positive integer, got {value!r}")
        if self.pad is not None and not 0 <= self.pad < self.d_vocab:
            raise ValueError(f"pad must be one of the {self.d_vocab} tokens, got {self.pad!r}")
        if self.activation not in get_args(Activation):
            raise ValueError(
                f"activation must be one of {get_args(Activation)}, got {self.activation!r}"
            )
        if not (self.init_std > 0 and self.layer_norm_eps > 0):
            raise ValueError(
                f"init_std and layer_norm_eps must be positive, got {self.init_std} and "
                f"{self.layer_norm_eps}"
            )
