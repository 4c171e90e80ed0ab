"""Settings of a training run."""

import math
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from interpbench_jax.siit.optimizer import Optimizer
from interpbench_jax.tasks.splits import HELD_OUT

StrictSampling = Literal["individual", "sample_all", "all"]
VariableSampling = Literal["per_batch", "per_pair"]
Steps = Literal["joint", "separate"]
Schedule = Literal["constant", "linear", "plateau"]
Outside = Literal["train", "freeze", "stop_gradient"]
Patches = Literal["nodes", "edges"]
_KINDS: dict[Any, tuple[Any, str]] = {
    bool: (bool, "true or false"),
    int: (int, "a whole number"),
    float: (int | float, "a number"),
}
_CHOICES = {
    "patches": Patches,
    "strict_sampling": StrictSampling,
    "variable_sampling": VariableSampling,
    "steps": Steps,
    "schedule": Schedule,
    "outside": Outside,
    "optimizer": Optimizer,
}
_COUNTS = (
    *("batch_size", "max_batches", "round_batches", "n_pairs", "validation_pairs"),
    *("plateau_patience", "edge_rows", "checked_sets", "checked_pairs", "refine_stages"),
)
# Settings that apply only when whole nodes are patched.
_OF_NODES = ("strict_sampling", "variable_sampling", "outside", "source_gradient", "steps")
# Settings that apply only when edges are patched.
_OF_EDGES = (
    *("outside_rows", "single_rows", "position_rows", "single_focus", "set_focus", "row_focus"),
    *("edge_rows", "checked_sets", "checked_pairs"),
)


@dataclass(frozen=True, kw_only=True)
class SiitConfig:
    """Settings of training, with all defaults.

    Attributes:
      behaviour_weight: weight of the loss on the base input.
      iit_weight: weight of the loss under an interchange of a variable.
      strict_weight: weight of the loss under interchanges outside the circuit; 0 is plain IIT.
        If the loss of IIA or SIIA has no weight, that score is ignored when training stops and
        when the best round is chosen; accuracy always counts. Members of a population are compared
        by all scores that count for any of them.
      patches: what training patches. `nodes` is SIIT: one variable, or some nodes outside the
        circuit. `edges` is edge-true training: any set of edges, with the algorithm's answer under
        the same patch as the target; the three losses are then on the unpatched source, under
        patches of the circuit's edges, and under patches of outside edges only.
      outside_rows: share of the rows of a batch in which only edges outside are patched.
      single_rows: share of the rows in which one edge of the circuit is patched, along with some
        outside; in the remaining rows it is any set. This setting, the previous one and the next
        seven apply to `edges`.
      position_rows: share of the rows of training in which edges are patched at random positions
        only; the checks that decide when to stop patch them everywhere.
      single_focus: while refining, share of these single edges that are drawn in proportion to the
        errors that the model made under a patch of each after the last round; the others, and all
        before, are drawn uniformly.
      set_focus: the same for the rows of any set: this share of them are of sets in proportion to
        the errors under each, on four rows of training or more after every round.
      row_focus: while refining, share of all rows that are drawn from those on which the model was
        wrong after the last round, out of as many as a round has.
      edge_rows: approximate number of rows (a pair and a set of edges) that are drawn for training.
      checked_sets: random sets of edges that decide when to stop, in addition to every single edge
        and all edges outside at once.
      checked_pairs: number of pairs on which these sets are evaluated.
      variable_sampling: one variable for a whole batch, or one for each of its pairs.
      strict_sampling: nodes outside the circuit patched at once: one, each with probability one
        half, or all.
      outside: treatment of nodes outside the circuit: trained like all others, weights frozen, or
        gradients stopped. The paper found the latter two worse.
      source_gradient: whether gradients flow back into the run on the source. The published models
        were trained without; then the strict loss does not make a free node's output less variable
        (see the README of `interpbench_jax/siit`).
      same_size: train a model as large as the compiled model instead of a compressed one.
      d_model: width of the residual stream of the trained model; `None` is the task's own. It is
        divided among the heads, and MLPs are four times as wide.
      steps: one optimizer step on the weighted sum, or one per loss (IIT, strict, behaviour).
      batch_size: pairs per batch.
      optimizer: `adam`, or `muon`, which moves matrices along their orthogonalised momentum, and
        only biases and embeddings by Adam.
      learning_rate: learning rate at the start.
      schedule: schedule of the learning rate: constant; linear to the final rate at the last batch;
        or constant and cut whenever scores stop rising.
      final_learning_rate: the rate at the last batch in the linear schedule.
      plateau_factor: factor by which the plateau schedule cuts the rate.
      plateau_patience: rounds without a better worst score before the rate is cut.
      beta1: Adam's decay of the mean gradient.
      beta2: Adam's decay of the mean squared gradient.
      clip_norm: global norm to which gradients are clipped.
      max_batches: the largest number of batches.
      refine_batches: how many of these refine: the learning rate starts again at a third, and falls
        linearly to the final rate, as it does before; 0 is a single stage.
      refine_stages: number of equally long stages of refining, each with the rates above.
      round_batches: batches between validations; the last round may be shorter.
      threshold: stop when accuracy, the IIA of every variable and the SIIA of every free node
        reach it.
      min_length: length of the shortest sequences, padded to full length; `None` uses only
        sequences of full length.
      n_pairs: the largest number of distinct (base, source) pairs to draw.
      held_out: share of sequences, and of pairs, that are held out from training. Half of them
        decide when to stop and which weights are best, the other half give the scores in the card;
        no sequence has two uses, except sequences with a probability of at least 1 %. A case with
        very few sequences holds nothing out, and its card says so.
      validation_pairs: number of pairs that are evaluated after every round.
    """

    patches: Patches = "nodes"
    behaviour_weight: float = 1.0
    iit_weight: float = 1.0
    strict_weight: float = 1.0
    strict_sampling: StrictSampling = "sample_all"
    variable_sampling: VariableSampling = "per_batch"
    outside: Outside = "train"
    source_gradient: bool = True
    same_size: bool = False
    d_model: int | None = None
    steps: Steps = "joint"
    batch_size: int = 256
    optimizer: Optimizer = "adam"
    learning_rate: float = 1e-2
    schedule: Schedule = "linear"
    final_learning_rate: float = 1e-4
    plateau_factor: float = 0.5
    plateau_patience: int = 5
    beta1: float = 0.9
    beta2: float = 0.9
    clip_norm: float = 0.1
    max_batches: int = 20_000
    refine_batches: int = 0
    refine_stages: int = 1
    round_batches: int = 250
    threshold: float = 0.995
    min_length: int | None = None
    outside_rows: float = 0.25
    single_rows: float = 0.4
    position_rows: float = 0.0
    single_focus: float = 0.0
    set_focus: float = 0.0
    row_focus: float = 0.0
    edge_rows: int = 131_072
    checked_sets: int = 100
    checked_pairs: int = 256
    n_pairs: int = 100_000
    held_out: float = HELD_OUT
    validation_pairs: int = 2_048

    def __post_init__(self) -> None:
        """Checks kinds and ranges."""
        for field in fields(self):
            value, kind = getattr(self, field.name), _KINDS.get(field.type)
            if kind is not None:
                mixed_up = isinstance(value, bool) != (field.type is bool)  # bools are ints
                if mixed_up or not isinstance(value, kind[0]):
                    raise ValueError(f"{field.name} must be {kind[1]}, got {value!r}")
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"{field.name} must be finite, got {value}")
        for name in ("min_length", "d_model"):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < 1):
                raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
        if self.same_size and self.d_model is not None:
            raise ValueError(f"same_size and d_model={self.d_model} exclude each other")
        for name in ("behaviour_weight", "iit_weight", "strict_weight"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        for name in ("learning_rate", "final_learning_rate", "clip_norm"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if not self.behaviour_weight + self.iit_weight + self.strict_weight > 0:
            raise ValueError("all three weights are 0: there is no loss to minimise")
        for name in _COUNTS:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.refine_batches < self.max_batches:
            raise ValueError(
                f"refine_batches must be at least 0 and below max_batches={self.max_batches}, "
                f"got {self.refine_batches}"
            )
        if self.refine_batches % self.refine_stages:
            raise ValueError(
                f"refine_batches must be a multiple of refine_stages={self.refine_stages}, got "
                f"{self.refine_batches}"
            )
        if self.refine_batches and self.schedule != "linear":
            raise ValueError(
                f"refine_batches needs the linear schedule, got schedule={self.schedule!r}"
            )
        for name in ("single_focus", "set_focus", "row_focus"):
            if getattr(self, name) and not self.refine_batches:
                raise ValueError(
                    f"{name}={getattr(self, name)} applies while refining: set refine_batches"
                )
        for name in ("held_out", "plateau_factor"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} must lie between 0 and 1, got {getattr(self, name)}")
        of_rows = ("outside_rows", "single_rows", "position_rows")
        for name in (*of_rows, "single_focus", "set_focus", "row_focus"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be between 0 and 1, got {getattr(self, name)}")
        if self.outside_rows + self.single_rows > 1:
            raise ValueError(
                "outside_rows and single_rows must be at most 1 together, got "
                f"{self.outside_rows} and {self.single_rows}"
            )
        for name in ("beta1", "beta2"):
            if not 0 <= (beta := getattr(self, name)) < 1:
                raise ValueError(f"{name} must be at least 0 and below 1, got {beta}")
        if not 0 < self.threshold <= 1:
            raise ValueError(f"threshold must be above 0 and at most 1, got {self.threshold}")
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in get_args(choices):
                raise ValueError(
                    f"{name} must be one of {get_args(choices)}, got {getattr(self, name)!r}"
                )

        usual = {field.name: field.default for field in fields(self)}
        other, others = ("nodes", _OF_NODES) if self.patches == "edges" else ("edges", _OF_EDGES)
        for name in others:
            if getattr(self, name) != usual[name]:
                raise ValueError(
                    f"{name}={getattr(self, name)!r} applies to patches of {other}; with "
                    f"patches={self.patches!r} it must be {usual[name]!r}"
                )

    @property
    def n_rounds(self) -> int:
        """Number of rounds of a full run."""
        return -(-self.max_batches // self.round_batches)

    def batches_after(self, rounds: int) -> int:
        """Number of batches in the first `rounds` rounds."""
        return min(rounds * self.round_batches, self.max_batches)
