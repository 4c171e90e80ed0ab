"""Settings of a training run."""

from dataclasses import dataclass
from typing import Literal, get_args

StrictSampling = Literal["individual", "sample_all", "all"]
Steps = Literal["joint", "separate"]


@dataclass(frozen=True, kw_only=True)
class SiitConfig:
    """How to train; each default is written here and nowhere else.

    Attributes:
      behaviour_weight: weight of the loss on the base input.
      iit_weight: weight of the loss under an interchange of a variable.
      strict_weight: weight of the loss under interchanges outside the circuit; 0 is plain IIT.
      strict_sampling: nodes outside the circuit patched at once: one, each with probability one
        half, or all.
      steps: one optimizer step on the weighted sum, or one per loss (IIT, strict, behaviour).
      batch_size: pairs per batch.
      learning_rate: of Adam, at the start.
      final_learning_rate: reached linearly at the last batch.
      beta1: Adam's decay of the mean gradient.
      beta2: Adam's decay of the mean squared gradient.
      clip_norm: global norm to which gradients are clipped.
      max_batches: train for so many batches at most.
      round_batches: validate after so many.
      threshold: stop when accuracy, the IIA of every variable and the SIIA of every free node
        reach it.
      min_length: length of the shortest sequences, padded to full length; `None` has sequences of
        full length only.
      n_pairs: distinct (base, source) pairs to draw at most.
      held_out: share of them kept for validation.
      validation_pairs: how many of those are looked at after every round.
    """

    behaviour_weight: float = 1.0
    iit_weight: float = 1.0
    strict_weight: float = 1.0
    strict_sampling: StrictSampling = "sample_all"
    steps: Steps = "joint"
    batch_size: int = 256
    learning_rate: float = 1e-2
    final_learning_rate: float = 1e-4
    beta1: float = 0.9
    beta2: float = 0.9
    clip_norm: float = 0.1
    max_batches: int = 20_000
    round_batches: int = 250
    threshold: float = 0.995
    min_length: int | None = None
    n_pairs: int = 100_000
    held_out: float = 0.2
    validation_pairs: int = 2_048

    def __post_init__(self) -> None:
        """Checks ranges."""
        for name in ("behaviour_weight", "iit_weight", "strict_weight"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        for name in ("learning_rate", "final_learning_rate", "clip_norm"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        for name in ("batch_size", "max_batches", "round_batches", "n_pairs", "validation_pairs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("threshold", "held_out", "beta1", "beta2"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} must be between 0 and 1, got {getattr(self, name)}")
        for name, choices in (("strict_sampling", StrictSampling), ("steps", Steps)):
            if getattr(self, name) not in get_args(choices):
                raise ValueError(
                    f"{name} must be one of {get_args(choices)}, got {getattr(self, name)!r}"
                )

    @property
    def n_rounds(self) -> int:
        """Rounds of a full run."""
        return -(-self.max_batches // self.round_batches)
