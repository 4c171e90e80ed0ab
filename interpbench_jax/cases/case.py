"""The definition of a case: a RASP program with its inputs and the size of its trained model."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from tracr.rasp import rasp

from interpbench_jax.cases.samplers import Mixture
from interpbench_jax.tasks.names import check_name

Value = str | int | float | bool
"""A token, or a value of a RASP expression."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A RASP program with all settings that training and scoring need.

    Attributes:
      name: the name by which users refer to it, also used for its files; the built-in cases have
        InterpBench's numbers.
      title: one line: what the program computes.
      program: returns a new copy of the RASP expression on every call.
      vocab: the tokens of inputs, without BOS.
      n_ctx: positions of the model, BOS included; inputs have at most `n_ctx - 1` tokens.
      causal: whether attention is causal.
      compression: the factor by which the trained model is narrower than the compiled model.
      sized_by: whether `compression` divides the compiled model's `d_head` or its `d_model`.
      sampler: how inputs are drawn; uniformly by default.
      realign: `(node of the compiled model, node of the trained model)` for nodes that differ.
    """

    name: str
    title: str
    program: Callable[[], rasp.SOp]
    vocab: tuple[Value, ...]
    n_ctx: int = 10
    causal: bool = False
    compression: float = 2.0
    sized_by: Literal["d_head", "d_model"] = "d_head"
    sampler: Mixture | None = None
    realign: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        """Checks everything that needs no compilation."""
        check_name("case", self.name)
        if not all(type(token) in get_args(Value) and token == token for token in self.vocab):
            raise ValueError(
                f"case {self.name!r}: tokens must be str, int, float or bool, and not NaN, "
                f"got {self.vocab}"
            )
        if len(self.vocab) < 1 or len(set(self.vocab)) != len(self.vocab):
            raise ValueError(
                f"case {self.name!r}: vocab must hold distinct tokens, got {self.vocab}"
            )
        if self.n_ctx < 2:
            raise ValueError(
                f"case {self.name!r}: n_ctx must be at least 2, BOS and one token, got {self.n_ctx}"
            )
        if self.compression <= 0:
            raise ValueError(
                f"case {self.name!r}: compression must be positive, got {self.compression}"
            )
