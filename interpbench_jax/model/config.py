"""The shape and kind of a transformer."""

from dataclasses import dataclass, fields
from reprlib import repr as short  # a bad value may be as long as a file
from typing import Any, Literal, get_args, get_origin

Activation = Literal["gelu", "gelu_tanh", "relu"]

# The most heads and MLPs: more than GPT-3 has, few enough for a matrix of edges.
_MOST_WRITERS = 10_000
_LARGEST = 2**24  # the largest number of positions or tokens, and the largest width
_LARGEST_SCALE = 1e30  # finite in float32


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
      pad: the token that pads shorter sequences, which no position attends to; `None` if all
        sequences of a batch have the same length.
      activation: `gelu` is the exact form, `gelu_tanh` the approximation GPT-2 uses.
      layer_norm: LayerNorm before every block and before the unembedding.
      layer_norm_eps: added to the variance in LayerNorm.
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
        """Checks the type and the range of every field.

        Raises:
          ValueError: a field has a wrong type or an impossible value.
        """
        check_fields(self)
        check_graph_size(self.n_layers, self.n_heads)
        if self.pad is not None and (type(self.pad) is not int or not 0 <= self.pad < self.d_vocab):
            raise ValueError(f"pad must be one of the {self.d_vocab} tokens, got {short(self.pad)}")

    @property
    def size(self) -> str:
        """Layers x heads x width, as in `2x4x20`."""
        return f"{self.n_layers}x{self.n_heads}x{self.d_model}"


def check_fields(config: Any) -> None:
    """Checks the fields of a frozen dataclass by their types.

    Integers are sizes, from 1 to 2^24. Floats are positive and finite in float32; an integer is
    accepted for one. Booleans and choices (`Literal`) are checked too, and other fields are not.

    Raises:
      ValueError: a field has another type or is out of range; the message names it.
    """
    for field in fields(config):
        name, kind, value = field.name, field.type, getattr(config, field.name)
        if kind is int:
            if type(value) is not int or value < 1:
                raise ValueError(f"{name} must be a positive integer, got {short(value)}")
            if value > _LARGEST:
                raise ValueError(f"{name} must be at most {_LARGEST}, got {short(value)}")
        elif kind is bool and type(value) is not bool:
            raise ValueError(f"{name} must be true or false, got {short(value)}")
        elif kind is float or (kind == float | None and value is not None):
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if not is_number or not 0 < value < _LARGEST_SCALE:
                raise ValueError(
                    f"{name} must be positive and below {_LARGEST_SCALE}, got {short(value)}"
                )
        elif get_origin(kind) is Literal and value not in get_args(kind):
            raise ValueError(f"{name} must be one of {get_args(kind)}, got {short(value)}")


def check_graph_size(n_layers: int, n_heads: int) -> None:
    """Checks that the graph of a model with this many layers and heads fits into memory.

    Raises:
      ValueError: there are more than 10,000 heads and MLPs.
    """
    if n_layers * (n_heads + 1) > _MOST_WRITERS:
        raise ValueError(
            f"{short(n_layers)} layers of {short(n_heads)} heads and an MLP are too many; expected "
            f"at most {_MOST_WRITERS} heads and MLPs in all"
        )
