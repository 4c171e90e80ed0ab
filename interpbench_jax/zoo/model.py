"""A trained model together with its circuit and card."""

from dataclasses import dataclass, field
from typing import Any

from interpbench_jax.alignment import Alignment, place
from interpbench_jax.compiler import get_task
from interpbench_jax.model import Circuit, Graph, Params, TransformerConfig
from interpbench_jax.siit import SiitConfig
from interpbench_jax.tasks import Split, Task


@dataclass(frozen=True, kw_only=True)
class AlignedVariable:
    """A high-level variable and the node of the trained model that holds it.

    Attributes:
      values: labels of the RASP expressions.
      compiled_node: the node that writes them in the compiled model.
      node: the node of the trained model.
    """

    values: tuple[str, ...]
    compiled_node: str
    node: str

    @property
    def name(self) -> str:
        """The values, joined."""
        return "+".join(self.values)


@dataclass(frozen=True, kw_only=True)
class DataRecord:
    """The data that a model was trained on.

    Attributes:
      fingerprint: fingerprint of the task; None if unknown.
      min_length: length of the shortest inputs; None if all had full length.
      same_size: whether the model is as large as the compiled model.
      held_out: share of the sequences that were held out; 0 if the task has too few; None if
        unknown.
    """

    fingerprint: str | None = None
    min_length: int | None = None
    same_size: bool = False
    held_out: float | None = None

    @classmethod
    def of(cls, task: Task, config: SiitConfig, split: Split) -> "DataRecord":
        """The record of a training run."""
        return cls(
            fingerprint=task.fingerprint,
            min_length=config.min_length,
            same_size=config.same_size,
            held_out=split.held_out if split.divided else 0.0,
        )


@dataclass(frozen=True, kw_only=True)
class BenchmarkModel:
    """A transformer with a known circuit.

    Attributes:
      case: name of the task that the model was trained on.
      params: weights.
      config: the model's shape.
      variables: what its aligned nodes hold.
      circuit: the ground truth, with edges marked that no patch can reveal; older models have no
        marks.
      card: settings, results, date and versions of the training. Not needed to run the model, but
        `suite`, `--at-bar` and `evaluate` read it. Values in `card["metrics"]` are fractions.
      data: the data that it was trained on.
    """

    case: str
    params: Params = field(repr=False)
    config: TransformerConfig
    variables: tuple[AlignedVariable, ...]
    circuit: Circuit = field(repr=False)
    card: dict[str, Any] = field(repr=False)
    data: DataRecord = DataRecord()

    def __repr__(self) -> str:
        """Task, size and main scores."""
        config, metrics = self.config, self.card.get("metrics", {})
        names = {"accuracy": "accuracy", "edge_agreement_worst": "worst set of edges"}
        known = {key: text for key, text in names.items() if metrics.get(key) is not None}
        scores = [f"{text} {metrics[key]:.4f}" for key, text in known.items()]
        size = f"{config.n_layers} layers x {config.n_heads} heads x {config.d_model}"
        circuit = f"circuit of {len(self.circuit.head_edges)} edges"
        return f"BenchmarkModel({', '.join((f'task {self.case!r}', size, circuit, *scores))})"

    @property
    def title(self) -> str:
        """What the task computes, by the card; "" if it does not say."""
        return self.card.get("title", "")

    @property
    def graph(self) -> Graph:
        """Writers and readers of the model."""
        return self.circuit.graph

    @property
    def task(self) -> Task:
        """The current definition of the task that it was trained on.

        Raises:
          ValueError: there is no such task.
        """
        return get_task(self.case, min_length=self.data.min_length, same_size=self.data.same_size)

    @property
    def alignment(self) -> Alignment[TransformerConfig]:
        """The alignment of the task's algorithm with the model.

        Raises:
          ValueError: as `task`.
        """
        task = self.task
        own = {variable.compiled_node: (variable.node,) for variable in self.variables}
        return place(task, self.config, {**task.places, **own})
