"""What a case is: a task whose algorithm is known, with the sizes of the model trained on it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from tracr.rasp import rasp

from interpbench_jax.cases.samplers import Mixture
from interpbench_jax.tasks.names import check_name

Value = str | int | float | bool
"""A token, or a value that a RASP expression takes."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A RASP program and everything about it that training and scoring need to know.

    Attributes:
      name: how users ask for it, and the name of the files made of it; the built-in cases have the
        numbers of InterpBench.
      title: one line: what the program computes.
      program: makes the RASP expression anew on every call.
      vocab: the tokens an input is made of, without BOS.
      n_ctx: positions of the model, BOS included; inputs have at most `n_ctx - 1` tokens.
      causal: whether attention looks back only.
      compression: how much narrower the trained model is than the compiled one.
      sized_by: whether `compression` divides the compiled model's `d_head` or its `d_model`.
      sampler: how inputs are drawn where they are not drawn uniformly.
      realign: `(node of the compiled model, node of the trained model)` where these differ.
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
        """Checks what can be checked without compiling."""
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
