"""A trained model together with what is known about it."""

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
    """On what a model was trained.

    Attributes:
      fingerprint: of the task; None for models that do not tell.
      min_length: length of the shortest inputs; none if all had full length.
      same_size: whether the model is as large as the compiled one.
      held_out: share of the sequences that were not trained on; 0 where the task has too few to
        hold some out; None for models that do not tell.
    """

    fingerprint: str | None = None
    min_length: int | None = None
    same_size: bool = False
    held_out: float | None = None

    @classmethod
    def of(cls, task: Task, config: SiitConfig, split: Split) -> "DataRecord":
        """Of a training run."""
        return cls(
            fingerprint=task.fingerprint,
            min_length=config.min_length,
            same_size=config.same_size,
            held_out=split.held_out if split.divided else 0.0,
        )


@dataclass(frozen=True, kw_only=True)
class BenchmarkModel:
    """A transformer with a known circuit; complete in itself.

    Attributes:
      case: name of the task it was trained on.
      params: weights.
      config: their shape.
      variables: what its aligned nodes hold.
      circuit: the ground truth, with the edges marked that no patch can reveal; models trained
        before these were looked for have none marked.
      card: how it was trained, with what result, when and with which versions; shares under
        `card["metrics"]` are fractions. For people: nothing is computed from it.
      data: on what it was trained.
    """

    case: str
    params: Params = field(repr=False)
    config: TransformerConfig
    variables: tuple[AlignedVariable, ...]
    circuit: Circuit = field(repr=False)
    card: dict[str, Any] = field(repr=False)
    data: DataRecord = DataRecord()

    def __repr__(self) -> str:
        """Task, size and scores: what one wants to know at a glance."""
        config, metrics = self.config, self.card.get("metrics", {})
        names = {"accuracy": "accuracy", "edge_agreement_worst": "worst set of edges"}
        scores = [f"{text} {metrics[key]:.4f}" for key, text in names.items() if key in metrics]
        size = f"{config.n_layers} layers x {config.n_heads} heads x {config.d_model}"
        circuit = f"circuit of {len(self.circuit.head_edges)} edges"
        return f"BenchmarkModel({', '.join((f'task {self.case!r}', size, circuit, *scores))})"

    @property
    def graph(self) -> Graph:
        """Writers and readers of the model."""
        return self.circuit.graph

    @property
    def task(self) -> Task:
        """The task it was trained on, as it is now.

        Raises:
          ValueError: there is no such task.
        """
        return get_task(self.case, min_length=self.data.min_length, same_size=self.data.same_size)

    @property
    def alignment(self) -> Alignment[TransformerConfig]:
        """Where the task's algorithm lives in the model.

        Raises:
          ValueError: as `task`.
        """
        task = self.task
        own = {variable.compiled_node: (variable.node,) for variable in self.variables}
        return place(task, self.config, {**task.places, **own})
